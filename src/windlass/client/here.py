"""Where this process is: at a user's machine or inside a container.

The runner writes ``plan`` before it imports user code and sets the context variables around each input;
everything else in the SDK only reads them. Tiny, because every container imports it.
"""
from __future__ import annotations

import contextvars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from windlass.wire.messages import containers

    class Slots(Protocol):
        """Of this container: inputs that it takes at once, or batches."""

        def count(self) -> int: ...
        def limit(self, count: int) -> None: ...

plan: containers.RunnerPlan | None = None
"""What this container serves; None on a user's machine."""

pid: int | None = None
"""The process that serves it: its children are not "in the container" for ``is_local``."""

interact: Callable[[], None] | None = None
"""The runner's way to attach the user's terminal, once it serves."""

building = False
"""Set where a function runs as a step of an image: in a container, but with no platform to talk to."""
stop_fetching: Callable[[], None] | None = None
"""The runner's way to take no more inputs, once it serves."""

slots: Slots | None = None
"""How many inputs the runner takes at once, once it serves."""

importing = False
"""Set by the command line while it imports the user's file: nothing may run from there."""

input_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("windlass_input_id", default=None)
traceparent: contextvars.ContextVar[str] = contextvars.ContextVar("windlass_traceparent", default="")
call_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("windlass_call_id", default=None)


def in_container() -> bool:
    return plan is not None or building
