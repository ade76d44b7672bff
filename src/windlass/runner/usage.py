"""What an input cost: processor time and memory, measured where it is cheap.

Processor time is the process's own and that of children it has waited for. It is told only of inputs that ran long
enough for the clock to mean something, and the peak of memory, which costs a file, only of those as well: a map of a
hundred thousand short inputs pays for one question to the clock each.
"""
from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHORT = 0.005  # seconds; inputs that ran shorter are not measured
_STATUS = "/proc/self/status"


def begin() -> tuple[float, float]:
    """Now, as ``end`` wants it."""
    return time.process_time(), _children()


def end(began: tuple[float, float], seconds: float) -> dict[str, Any]:
    """``cpu`` and ``peak`` of an ``AttemptOutput`` whose input ran ``seconds``; nothing when that was short."""
    if seconds < _SHORT:
        return {}
    told: dict[str, Any] = {"cpu": max(0.0, time.process_time() - began[0] + _children() - began[1])}
    if peak := _peak():
        told["peak"] = peak
    return told


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _peak() -> int:
    """The most memory in bytes that this process has had at once; 0 where nobody says."""
    try:
        with open(_STATUS, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms
            text = file.read()
    except OSError:
        return 0
    at = text.find(b"VmHWM:")
    return int(text[at + 6 : text.index(b"kB", at)]) * 1024 if at >= 0 else 0
