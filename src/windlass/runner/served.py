"""What a container serves: a function, or the one instance of a class with its methods and hooks.

    prepare ─► enter(snap=True) ─► fork point ─► enter(snap=False) ─► serve ─► leave

What runs before the fork point belongs to the code alone; what runs after it, to this container.
"""
from __future__ import annotations

import sys

from windlass import exception
from windlass.runner import failure, invoke

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from windlass.client import anatomy, local, partial
    from windlass.runner import work
    from windlass.wire.messages import functions


class Callee:
    """What one input calls."""

    __slots__ = ("function", "is_async", "is_generator")

    def __init__(self, function: Callable[..., Any], *, is_generator: bool, is_async: bool) -> None:
        self.function = function
        self.is_generator = is_generator
        self.is_async = is_async


class Served:
    """A plain function: ``callees`` by the method that a lease names, "" for functions. It has no hooks."""

    def __init__(self, callees: dict[str, Callee]) -> None:
        self.callees = callees
        self.loop: invoke.Loop | None = None
        """The event loop of hooks and inputs, once one is async: what hooks make is used by inputs. Its descriptors
        cannot be forked, so nobody makes one before it is needed."""

    def begin(self) -> None:
        """Serving begins: background tasks of async code run between inputs, too."""
        if any(callee.is_async for callee in self.callees.values()):
            self.needs_loop()

    def enter(self, *, snap: bool) -> None:
        """Run the hooks of before (``snap``) or after the fork point. What they raise is a failed start."""

    @property
    def leaves(self) -> bool:
        """Whether ``leave`` has anything to do."""
        return False

    def leave(self) -> None:
        """Run the exit hooks. What they raise is only told."""

    def leases(self, take: Callable[[list[work.Lease]], None]) -> None:
        """``take`` may be called with inputs that come another way than by the link, on the loop."""

    def needs_loop(self) -> invoke.Loop:
        if self.loop is None:
            self.loop = invoke.Loop()
        return self.loop


def function(raw_f: Callable[..., Any], spec: functions.FunctionSpec) -> Served:
    """A function as it was decorated."""
    return Served({"": Callee(raw_f, is_generator=spec["is_generator"], is_async=spec["is_async"])})


class Instance(Served):
    """The instance of a class, whose constructor was not called and whose parameters have their values."""

    def __init__(self, made: local.Instance, spec: functions.FunctionSpec) -> None:
        self._made = made
        self._anatomy: anatomy.Anatomy = made.anatomy
        super().__init__({name: self._callee(name, method) for name, method in spec["methods"].items()})

    def _callee(self, name: str, method: functions.MethodSpec) -> Callee:
        marked = self._anatomy.methods.get(name)
        if marked is None:
            raise exception.ExecutionError(
                f"{type(self._made.instance).__name__!r} has no method {name!r} in the container",
                hint="Is it defined under a condition? The class must look the same everywhere.",
            )
        return Callee(
            self._bound(marked),
            is_generator=method.get("is_generator", False),
            is_async=method.get("is_async", False),
        )

    def _bound(self, marked: partial.Partial) -> Callable[..., Any]:
        bound: Callable[..., Any] = marked.raw_f.__get__(self._made.instance, type(self._made.instance))
        return bound

    def enter(self, *, snap: bool) -> None:
        for hook in self._anatomy.snap_enter if snap else self._anatomy.enter:
            self._run(hook)

    @property
    def leaves(self) -> bool:
        return bool(self._anatomy.exit)

    def leave(self) -> None:
        for hook in self._anatomy.exit:
            try:
                self._run(hook, _old_arguments(hook))
            except BaseException as exc:  # noqa: BLE001 - the edge of user code; the other hooks have their turn
                print(f"the exit hook {hook.__qualname__} failed:", file=sys.stderr, flush=True)
                failure.show(failure.of(exc)[0])

    def _run(self, hook: partial.Partial, arguments: Sequence[None] = ()) -> None:
        result = self._bound(hook)(*arguments)
        if hasattr(result, "__await__"):
            self.needs_loop().complete(result)


def _old_arguments(hook: partial.Partial) -> list[None]:
    """Exit hooks of old took what ``__exit__`` takes."""
    code = getattr(hook.raw_f, "__code__", None)
    needed = 0 if code is None else code.co_argcount - 1 - len(hook.raw_f.__defaults__ or ())
    return [None] * needed if needed == 3 else []
