"""Schedules: listed, and run now. (What they say is part of a function, ``functions.ScheduleSpec``.)"""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.functions import ScheduleSpec


class ScheduleList(TypedDict):
    app_id: str


class Schedule(TypedDict):
    """``next_at`` is None while it does not run by itself; ``fired_at`` and ``call_id`` are of the last run."""

    function_id: str
    tag: str
    schedule: ScheduleSpec
    next_at: float | None
    fired_at: float | None
    call_id: str | None


class ScheduleListReply(TypedDict):
    schedules: list[Schedule]


class ScheduleFire(TypedDict):
    """Run a function with a schedule now, as if its time had come. ``call_id`` is chosen by the client."""

    function_id: str
    call_id: str
