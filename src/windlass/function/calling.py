"""Calling a function: once, in this process, in the background, or for each item of iterables."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.function import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from typing import Any

    from windlass.client import binding, inputs, results
    from windlass.function.handle import O, P, R
    from windlass.function_call import FunctionCall
else:
    P = R = O = None  # noqa: E741


class Calling(handle.Handle[P, R, O]):
    """The members of ``Function`` that run it."""

    def get_raw_f(self) -> Callable[P, O]:
        """The Python function itself.

        Raises:
            ExecutionError: the function was looked up, so its code is not here.
        """
        if self._source is None:
            raise exception.ExecutionError(
                f"{self._describe()} was looked up, so its code is not here", hint="Use .remote()."
            )
        raw_f: Callable[P, O] = self._source.raw_f
        return raw_f

    @faces.opened
    def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[Callable[[], R]]:
        """Run it in a container and return what it returns, or raise what it raises.

        Raises:
            InvalidError: it is a generator function.
        """
        from windlass.client import invoke

        self._expect(generator=False)
        return invoke.Remote(self._whole, invoke.pack(args, kwargs))

    @faces.stream
    def remote_gen(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Callable[[], Any], None]:
        """Run a generator function in a container; yields its values in order, as they come.

        Raises:
            InvalidError: it is no generator function.
        """
        from windlass.client import generate, invoke

        self._expect(generator=True)
        return generate.generate(self._whole, invoke.pack(args, kwargs))

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> O:
        """Call the Python function in this process. A warning says which of its mounts are not there."""
        raw_f = self.get_raw_f()
        warn_of_mounts(self, self._binding)
        return raw_f(*args, **kwargs)

    @faces.opened
    def spawn(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Callable[[], FunctionCall[R]]]:
        """Enqueue one input and return at once. It runs even if the caller goes away.

        Example:
            >>> call = f.spawn(1)
            >>> call.get()
        """
        from windlass import function_call
        from windlass.client import invoke

        self._expect(generator=False, verb="spawned")
        return function_call.spawned(invoke.spawn(self._whole, invoke.pack(args, kwargs)))

    # -- maps -------------------------------------------------------------------------------------------

    @faces.results
    def map(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> results.Results[R]:
        """Run it for each item of the iterables, side by side in many containers; yields the results.

        Args:
            input_iterators: one iterable for each positional parameter; the shortest ends the map. They are read
                lazily, so they may be endless.
            kwargs: keyword arguments of every call.
            order_outputs: False yields results as they come.
            return_exceptions: True yields exceptions in the place of results, instead of raising the first.
            wrap_returned_exceptions: has no effect.

        Example:
            >>> for result in f.map(range(100)):
            ...     print(result)
        """
        from windlass.client import inputs

        _warn_wrapping(wrap_returned_exceptions)
        source = inputs.Zipped(input_iterators, kwargs)
        return self._mapped(source, ordered=order_outputs, return_exceptions=return_exceptions)

    @faces.results
    def starmap(
        self,
        input_iterator: Any,
        *,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> results.Results[R]:
        """Like ``map``, but each item is unpacked into the positional arguments.

        Example:
            >>> list(add.starmap([(1, 2), (3, 4)]))
            [3, 7]
        """
        from windlass.client import inputs

        _warn_wrapping(wrap_returned_exceptions)
        source = inputs.Starred(input_iterator, kwargs)
        return self._mapped(source, ordered=order_outputs, return_exceptions=return_exceptions)

    @faces.effect
    def for_each(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
        ignore_exceptions: bool = False,
    ) -> results.Effect[None]:
        """Like ``map`` without results: waits until all have ended."""
        from windlass.client import inputs, results

        source = inputs.Zipped(input_iterators, kwargs)
        mapped = self._mapped(source, ordered=False, return_exceptions=ignore_exceptions)
        return results.Effect(mapped.exhaust, mapped.aexhaust)

    @faces.effect
    def spawn_map(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> results.Effect[None]:
        """Enqueue one input for each item and return when all are with the server. They run without the caller."""
        from windlass.client import inputs, results

        mapped = self._mapped(inputs.Zipped(input_iterators, kwargs), kind="spawn")

        def blocking() -> None:
            mapped.submit()

        async def asynchronous() -> None:
            await mapped.asubmit()

        return results.Effect(blocking, asynchronous)

    @faces.effect
    def experimental_spawn_map(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> results.Effect[FunctionCall[R]]:
        """Like ``spawn_map``, and returns one call that holds all the inputs."""
        from windlass import function_call
        from windlass.client import inputs, results

        mapped = self._mapped(inputs.Zipped(input_iterators, kwargs), kind="spawn")

        def blocking() -> FunctionCall[R]:
            return function_call.of_inputs(mapped.submit())

        async def asynchronous() -> FunctionCall[R]:
            return function_call.of_inputs(await mapped.asubmit())

        return results.Effect(blocking, asynchronous)

    def _mapped(self, source: inputs.Zipped | inputs.Starred, **how: Any) -> results.Results[Any]:
        from windlass.client import results

        self._expect(generator=False, verb="mapped")
        return results.Results(ready=self._ready_to_map, name=self._tag, method=self._method, source=source, **how)

    async def _ready_to_map(self) -> str:
        function_id = await self._ready()
        self._expect(generator=False, verb="mapped")
        return function_id

    def _expect(self, *, generator: bool, verb: str = "") -> None:
        """Refuse to call it in the wrong way, as soon as it is known what it is."""
        if self._answers_requests:
            raise exception.InvalidError(
                f"{self._describe()} is a web function: it answers HTTP requests, and cannot be {verb or 'called'}",
                hint=f"Ask {self._shown}.get_web_url(), or use {self._shown}.local(...).",
            )
        if self._is_generator is None or self._is_generator == generator:
            return
        if verb:
            raise exception.InvalidError(f"{self._describe()} is a generator function: it cannot be {verb}")
        if generator:
            raise exception.InvalidError(f"{self._describe()} is no generator function", hint="Use .remote().")
        raise exception.InvalidError(f"{self._describe()} is a generator function", hint="Use .remote_gen().")


def warn_of_mounts(function: handle.Handle[..., Any, Any], bound: binding.Binding | None) -> None:
    """For ``local()`` outside of containers. ``function``: has the options; ``bound``: what a variant overrides."""
    from windlass.client import here

    if function._options is None or function._app is None or here.in_container():
        return
    volumes = (bound.overrides.get("volumes") if bound is not None else None) or {
        **function._app._volumes, **function._options.volumes,
    }  # fmt: skip
    if paths := sorted({*volumes, *function._options.network_file_systems}):
        import warnings

        text = f"{function._describe()} runs in this process, where nothing is mounted at {', '.join(paths)}"
        warnings.warn(text, stacklevel=3)


def _warn_wrapping(wrap: bool | None) -> None:
    if wrap is not None:
        import warnings

        warnings.warn(
            "wrap_returned_exceptions has no effect: exceptions are returned as they are",
            exception.DeprecationError,
            stacklevel=4,
        )
