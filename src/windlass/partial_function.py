"""Decorators below ``@app.cls`` and ``@app.function``: ``method``, ``enter``, ``exit``, ``concurrent``, ``batched``."""
from __future__ import annotations

from windlass import options
from windlass.client import partial, source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

    from typing_extensions import Self

    from windlass.function import Function

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
