"""A step that is a Python function."""
from __future__ import annotations

from windlass import exception
from windlass.client import here
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

    from typing_extensions import Self

    from windlass.client import imaging, source
    from windlass.secret import Secret
    from windlass.wire.messages import images

_MOST_ARGUMENTS = 2 * 1024 * 1024  # bytes, pickled
_TIMEOUT = 3600


class Functions(chain.Chain):
    """The method of ``Image`` that runs a Python function."""

    def run_function(
        self,
        raw_f: Callable[..., Any],
        *,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: Mapping[Any, Any] = {},
        network_file_systems: Mapping[Any, Any] = {},
        gpu: object = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        timeout: int = _TIMEOUT,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        force_build: bool = False,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = {},
        include_source: bool = True,
    ) -> Self:
        """Run a Python function as a step, and keep what it leaves in the file system: a downloaded model, say.

        It runs again when its source text, its arguments, its settings, or a value that it refers to changes; other
        functions, classes and modules that it uses do not count. What it returns is thrown away. The file or package
        that defines it can be imported while it runs, and does not become part of the image.

        Args:
            raw_f: a plain function, which may be ``async``. One that is defined inside another function, or at a
                prompt, is pickled: then the image needs the Python version that runs here.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            volumes: volumes by the paths where the function sees them. It sees the newest commit when it starts. What
                it writes there is committed in the background and when it has ended, also when it failed, as with any
                function; the layer is kept only after that. What a volume holds never becomes part of the image, and
                does not count for the cache: which volume it is (its id, so one made anew under the same name is
                another one) and how it is mounted does.
            network_file_systems: network file systems by path, in the same way.
            gpu: GPUs that the step sees, as with a function.
            cpu: CPU cores, or a pair of request and limit.
            memory: MiB, or a pair of request and limit.
            timeout: seconds after which the step fails.
            cloud: has no effect: images are built on your own machine.
            region: has no effect.
            force_build: run the step, and those after it, even if they are in the cache.
            args: positional arguments.
            kwargs: keyword arguments.
            include_source: whether the file or package that defines the function is there while it runs.

        Raises:
            InvalidError: no plain function, more than 2 MiB of arguments, or something (a bucket, say) that no step
                can mount.

        Example:
            >>> def download():
            ...     urllib.request.urlretrieve("https://example.com/model.bin", "/model.bin")
            >>> image = windlass.Image.debian_slim().run_function(download)
        """
        from windlass import options

        function = _checked(raw_f)
        mounted = chain.mounted(volumes)
        shared = options.network_file_systems(network_file_systems, mounted)
        recipe: images.Recipe = {"op": "function", "timeout": options._seconds("timeout", timeout)}
        if cpu is not None:
            recipe["cpu"] = list(options._cpu(cpu))
        if memory is not None:
            recipe["memory"] = list(options._memory(memory))
        arguments = b"" if here.in_container() else _pickled(function, args, kwargs)

        async def expand(around: imaging.Around) -> list[images.Recipe]:
            from windlass.client import building

            origin = _origin(function)
            return [{**recipe, **await building.function(origin, arguments, include_source, around.context.session)}]

        return self._later(
            f"run_function {function.__name__}", expand, force_build=force_build, env=env, secrets=secrets,
            volumes=mounted, shared=shared, gpu=gpu,
        )  # fmt: skip


def _checked(given: Any) -> Any:
    """The plain function. What ``@app.function`` says about it does not count here."""
    raw_f = given.get_raw_f() if hasattr(given, "get_raw_f") else given
    if not hasattr(raw_f, "__code__"):
        raise exception.InvalidError(
            f"run_function() takes a function, not {type(raw_f).__name__} {raw_f!r}",
            hint="Define a function at the top of a module, and pass its arguments by args= and kwargs=.",
        )
    if raw_f.__name__ == "<lambda>":
        raise exception.InvalidError("run_function() does not take a lambda", hint="Define a function with a name.")
    if hasattr(raw_f, "__self__"):
        raise exception.InvalidError(
            f"run_function() does not take the bound method {raw_f.__qualname__!r}",
            hint="Define a function at the top of a module, and pass the object by args=.",
        )
    from windlass.client import source

    if raw_f.__code__.co_flags & (source.GENERATOR | source.ASYNC_GENERATOR):
        raise exception.InvalidError(f"run_function() does not take the generator function {raw_f.__name__!r}")
    return raw_f


def _origin(function: Any) -> source.Source:
    from windlass.client import source

    return source.Source(function, serialized="<locals>" in function.__qualname__, is_generator=False)


def _pickled(function: Any, args: Any, kwargs: Any) -> bytes:
    """Both kinds of arguments, or nothing where there are none."""
    if not isinstance(args, (tuple, list)):
        raise exception.InvalidError(f"run_function(args=…) takes a tuple, not {type(args).__name__}")
    if not isinstance(kwargs, dict) or not all(isinstance(name, str) for name in kwargs):
        raise exception.InvalidError("run_function(kwargs=…) takes a dict with names of arguments")
    if not args and not kwargs:
        return b""
    from windlass.wire import payload

    data = payload.dumps((tuple(args), kwargs))
    if len(data) > _MOST_ARGUMENTS:
        raise exception.InvalidError(
            f"the arguments of {function.__name__!r} pickle to {len(data):,} bytes, more than the "
            f"{_MOST_ARGUMENTS:,} that run_function() takes",
            hint="Put large data into the image with add_local_file(copy=True), and pass its path.",
        )
    return data
