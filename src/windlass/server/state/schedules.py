"""Functions that run by themselves."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.state import machines
from windlass.wire.messages import functions


class Plan(NamedTuple):
    """What a function will do. ``since``: what its periods are counted from."""

    schedule: functions.ScheduleSpec
    since: float
    next_at: float


class Entry:
    """A function with an active plan, and when it ran last (``call_id``), by itself or because somebody said so."""

    __slots__ = ("call_id", "fired_at", "function", "plan")

    def __init__(
        self, function: machines.Function, plan: Plan, fired_at: float | None = None, call_id: str | None = None
    ) -> None:
        self.function, self.plan = function, plan
        self.fired_at, self.call_id = fired_at, call_id
