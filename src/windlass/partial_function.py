"""Decorators for the methods of classes that run in containers: ``method``, ``enter`` and ``exit``."""
from __future__ import annotations

from windlass.client import partial

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
