"""Decorators below ``@app.cls`` and ``@app.function``: of methods, hooks, concurrency, batches and web functions."""
from __future__ import annotations

from windlass import exception, options
from windlass.client import clusters, partial, source, web

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

    from typing_extensions import Self

    from windlass.function import Function
    from windlass.wire.messages import functions

    S = TypeVar("S", contravariant=True)
    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
    O = TypeVar("O", covariant=True)  # noqa: E741 - what the method returns: R, or an awaitable of it
    H = TypeVar("H", bound=Callable[..., Any])

    class Method(Generic[S, P, R, O]):
        """What ``@method()`` makes of a method: on an instance, a ``Function``."""

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: S, owner: type) -> Function[P, R, O]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...

    class _MethodDecorator:
        @overload
        def __call__(
            self, raw_f: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]
        ) -> Method[S, P, R, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(self, raw_f: Callable[Concatenate[S, P], R]) -> Method[S, P, R, R]: ...
        def __call__(self, raw_f: Any) -> Any: ...


PartialFunction = partial.Partial


def method(_warn_parentheses_missing: object = None, *, is_generator: bool | None = None) -> _MethodDecorator:
    """Let a method of a class be called remotely: ``obj.method.remote(...)``, ``.map``, ``.spawn`` and so on.

    Methods without it are plain Python, for use inside the instance.

    Args:
        is_generator: True for a plain method that returns a generator.

    Example:
        >>> @app.cls()
        ... class Model:
        ...     @windlass.method()
        ...     def predict(self, x: int) -> int:
        ...         return x * x
        >>> Model().predict.remote(3)
        9

    Raises:
        InvalidError: it does not stand on a method, or on a hook.
    """
    partial.bare(method, _warn_parentheses_missing, "method")

    def decorate(raw_f: Any) -> Any:
        marked = partial.mark(raw_f, "method", role=partial.METHOD)
        marked.is_generator = is_generator
        return marked

    return decorate  # type: ignore[return-value]


def enter(_warn_parentheses_missing: object = None, *, snap: bool = False) -> Callable[[H], H]:
    """Run a method once in each container, before its first input. Several run in the order of their definition, those
    of base classes first. It may be async. What it raises is a failed start of the container.

    Args:
        snap: run before the memory snapshot of the class is taken; needs ``enable_memory_snapshot=True``.

    Example:
        >>> @app.cls()
        ... class Model:
        ...     @windlass.enter()
        ...     def load(self):
        ...         self.weights = read_weights()
    """
    partial.bare(enter, _warn_parentheses_missing, "enter")
    role = partial.SNAP_ENTER if snap else partial.ENTER
    return lambda raw_f: partial.mark(raw_f, "enter", role=role)  # type: ignore[return-value]


def exit(_warn_parentheses_missing: object = None) -> Callable[[H], H]:
    """Run a method when its container ends: after the last input, on scale-down, stop and preemption. It may be async.

    It has 30 seconds. It does not run when the container dies.

    Example:
        >>> @app.cls()
        ... class Model:
        ...     @windlass.exit()
        ...     def close(self):
        ...         self.connection.close()
    """
    partial.bare(exit, _warn_parentheses_missing, "exit")
    return lambda raw_f: partial.mark(raw_f, "exit", role=partial.EXIT)  # type: ignore[return-value]


def concurrent(*, max_inputs: int, target_inputs: int | None = None) -> Callable[[H], H]:
    """Let each container take several inputs at once: below ``@app.function()``, or below ``@app.cls()``.

    Inputs of async functions are tasks of one event loop; those of other functions run in a thread each, so their code
    must be safe for threads. Each input has a context, a timeout and a cancellation of its own. A function in a thread
    that does not stop when it is interrupted takes its container with it; the other inputs then run again elsewhere.

    Args:
        max_inputs: never more at once in one container, 1 to 100,000.
        target_inputs: what the autoscaler reckons with; by default ``max_inputs``. A container takes more only when
            no other one is ready.

    Example:
        >>> @app.function()
        ... @windlass.concurrent(max_inputs=100)
        ... async def fetch(url: str) -> str:
        ...     return await download(url)

    Raises:
        InvalidError: a number is wrong, or it does not stand on a function or class below the app's decorator.
    """
    asked = {"concurrency": options.concurrency(max_inputs, target_inputs)}
    return lambda raw_f: partial.mark(raw_f, "concurrent", asked=asked)  # type: ignore[return-value]


def batched(*, max_batch_size: int, wait_ms: int) -> Callable[[Callable[..., Any]], Any]:
    """Gather inputs and run them together: below ``@app.function()``, or on the only method of a class.

    Callers pass single items. The function gets a list for each of its parameters, and returns a list of the same
    length. What it raises fails every input of the batch.

    Args:
        max_batch_size: a batch has at most so many inputs, 1 to 1,000.
        wait_ms: a batch that is not full begins so many milliseconds after its first input was taken, 0 to 600,000.

    Example:
        >>> @app.function()
        ... @windlass.batched(max_batch_size=4, wait_ms=1000)
        ... def add(x: list[int], y: list[int]) -> list[int]:
        ...     return [a + b for a, b in zip(x, y)]
        >>> add.remote(2, 3)
        5

    Raises:
        InvalidError: a number is wrong, or the function has default arguments, takes any number of arguments,
            or is a generator.
    """
    asked = {"batching": options.batching(max_batch_size, wait_ms)}

    def decorate(raw_f: Any) -> Any:
        marked = partial.mark(raw_f, "batched", role=partial.METHOD, asked=asked)
        source.columns(marked.raw_f)
        return marked

    return decorate


def clustered(*, size: int, rdma: bool = False) -> Callable[[H], H]:
    """Run each call in ``size`` containers together: below ``@app.function()``, or below ``@app.cls()``.

    They are started all or none. Each gets the arguments of the call, and learns from ``Cluster.from_context()`` which
    of them it is; they reach each other by their private addresses (``i6pn``). When all have returned, what rank 0
    returned is the result. When one fails or dies, the call fails, the others are interrupted, and where the function
    has retries all of it is tried again, in new containers. Calls that follow use the containers again.

    Args:
        size: containers that run a call together, 1 to 256. GPUs and memory are for each of them.
        rdma: refused when the app runs: containers have no such devices here.

    Example:
        >>> @app.function(gpu="A100")
        ... @windlass.clustered(size=2)
        ... def train(steps: int) -> float:
        ...     cluster = windlass.Cluster.from_context()
        ...     first = cluster.container_ips()[0]
        ...     return run(steps, master=first, rank=cluster.container_rank())

    Raises:
        InvalidError: an argument is wrong, or it does not stand on a function or class below the app's decorator.
    """
    asked = {"cluster": clusters.spec(size, rdma)}
    return lambda raw_f: partial.mark(raw_f, "clustered", asked=asked)  # type: ignore[return-value]


def sessioned() -> Callable[[H], H]:
    """Sessions that clients of a server begin and end. Not available: ``Modal-Session-ID`` keeps a client at one
    container.

    Raises:
        UnimplementedError: it stands on a class.
        InvalidError: it stands on something else.
    """

    def decorate(decorated: H) -> H:
        if not isinstance(decorated, type):
            raise exception.InvalidError("@sessioned stands on a class, below @app.server()")
        raise exception.UnimplementedError(
            "@sessioned: sessions that clients begin and end are not available",
            hint="Send the header Modal-Session-ID: requests with the same one go to the same container.",
        )

    return decorate


def fastapi_endpoint(
    _warn_parentheses_missing: object = None,
    *,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> Callable[[Any], Any]:
    """Answer HTTP requests with a function: its parameters are what FastAPI makes of query and body.

    FastAPI must be in the image. The function may be async. Any web page may ask (CORS is open).

    Args:
        method: the HTTP method that it answers.
        label: in the URL, in the place of the names of app and function.
        custom_domains: domains of your own that lead here, too.
        docs: whether there are interactive docs at ``/docs``.
        requires_proxy_auth: answer only who has a proxy token.

    Example:
        >>> @app.function(image=windlass.Image.debian_slim().pip_install("fastapi"))
        ... @windlass.fastapi_endpoint()
        ... def square(x: int) -> dict[str, int]:
        ...     return {"square": x * x}

    Raises:
        InvalidError: an argument is wrong, or it does not stand on a function below the app's decorator.
    """
    partial.bare(fastapi_endpoint, _warn_parentheses_missing, "fastapi_endpoint")
    if not isinstance(docs, bool):
        raise exception.InvalidError(f"docs must be True or False, not {docs!r}")
    asked = web.spec(
        "fastapi", label=label, custom_domains=custom_domains, requires_proxy_auth=requires_proxy_auth,
        method=web.method(method), docs=docs,
    )  # fmt: skip
    return _web("fastapi_endpoint", asked)


def asgi_app(
    _warn_parentheses_missing: object = None,
    *,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> Callable[[Any], Any]:
    """Serve an ASGI app (FastAPI, Starlette, …), which the function returns. It is called once in each container.

    No server package is needed in the image. Let containers take many requests at once with ``@concurrent``.

    Args:
        label: in the URL, in the place of the names of app and function.
        custom_domains: domains of your own that lead here, too.
        requires_proxy_auth: answer only who has a proxy token.

    Example:
        >>> @app.function(image=image)
        ... @windlass.concurrent(max_inputs=100)
        ... @windlass.asgi_app()
        ... def site():
        ...     import fastapi
        ...     api = fastapi.FastAPI()
        ...     return api

    Raises:
        InvalidError: an argument is wrong, or the function is async or has parameters.
    """
    partial.bare(asgi_app, _warn_parentheses_missing, "asgi_app")
    shared = {"label": label, "custom_domains": custom_domains, "requires_proxy_auth": requires_proxy_auth}
    return _web("asgi_app", web.spec("asgi", **shared))  # type: ignore[arg-type]


def wsgi_app(
    _warn_parentheses_missing: object = None,
    *,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> Callable[[Any], Any]:
    """Serve a WSGI app (Flask, Django, …), which the function returns; each request runs in a thread.

    The arguments are those of ``asgi_app``.

    Example:
        >>> @app.function(image=image)
        ... @windlass.wsgi_app()
        ... def site():
        ...     import flask
        ...     return flask.Flask(__name__)

    Raises:
        InvalidError: an argument is wrong, or the function is async or has parameters.
    """
    partial.bare(wsgi_app, _warn_parentheses_missing, "wsgi_app")
    shared = {"label": label, "custom_domains": custom_domains, "requires_proxy_auth": requires_proxy_auth}
    return _web("wsgi_app", web.spec("wsgi", **shared))  # type: ignore[arg-type]


def web_server(
    port: int,
    *,
    startup_timeout: float = 5.0,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> Callable[[Any], Any]:
    """Serve whatever program the function starts: it listens on all addresses of the container, at ``port``.

    Args:
        port: where it listens.
        startup_timeout: seconds after the function's return in which it must accept connections.
        label: in the URL, in the place of the names of app and function.
        custom_domains: domains of your own that lead here, too.
        requires_proxy_auth: answer only who has a proxy token.

    Example:
        >>> @app.function()
        ... @windlass.concurrent(max_inputs=100)
        ... @windlass.web_server(8000)
        ... def files():
        ...     import subprocess
        ...     subprocess.Popen(["python3", "-m", "http.server", "8000"])

    Raises:
        InvalidError: an argument is wrong, or the function is async or has parameters.
    """
    if callable(port):
        partial.bare(web_server, port, "web_server")
    asked = web.spec(
        "server", label=label, custom_domains=custom_domains, requires_proxy_auth=requires_proxy_auth,
        port=web.port(port), startup_timeout=web.startup_timeout(startup_timeout),
    )  # fmt: skip
    return _web("web_server", asked)


def web_endpoint(
    _warn_parentheses_missing: object = None,
    *,
    method: str = "GET",
    label: str | None = None,
    docs: bool = False,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> Callable[[Any], Any]:
    """Removed: use ``fastapi_endpoint``."""
    raise exception.DeprecationError("web_endpoint was removed; use fastapi_endpoint, which takes the same")


def _web(name: str, asked: functions.WebSpec) -> Callable[[Any], Any]:
    def decorate(raw_f: Any) -> Any:
        marked = partial.mark(raw_f, name, role=partial.WEB, asked={"web": asked})
        if source.kind(marked.raw_f)[1] and asked["kind"] != "fastapi":
            raise exception.InvalidError(f"{marked.__qualname__!r} is async, which @{name} cannot be")
        return marked

    return decorate
