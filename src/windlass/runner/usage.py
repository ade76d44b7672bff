"""What an input cost: processor time and memory, measured where it is cheap.

Processor time is the process's own and that of children it has waited for. It is told only of inputs that ran long
enough for the clock to mean something, and so is the peak of memory, which costs reading a file. In a flood of short
inputs the clocks, two system calls, are read once in some milliseconds.
"""
from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHORT = 0.005  # seconds; inputs that ran shorter are not measured, and readings may be so old
_STATUS = "/proc/self/status"

_read_at = 0.0
_reading = 0.0


def begin(now: float) -> float:
    """The processor time used so far, or up to some milliseconds ago. ``now`` is ``time.monotonic()``."""
    global _read_at, _reading
    if now - _read_at >= _SHORT:
        _read_at, _reading = now, _used()
    return _reading


def end(began: float, seconds: float) -> dict[str, Any]:
    """``cpu`` and ``peak`` of an ``AttemptOutput`` whose input ran ``seconds``; nothing when that was short."""
    if seconds < _SHORT:
        return {}
    told: dict[str, Any] = {"cpu": max(0.0, _used() - began)}
    if peak := _peak():
        told["peak"] = peak
    return told


def _used() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _peak() -> int:
    """The most memory in bytes that this process has had at once; 0 where nobody says."""
    try:
        with open(_STATUS, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms
            text = file.read()
    except OSError:
        return 0
    at = text.find(b"VmHWM:")
    return int(text[at + 6 : text.index(b"kB", at)]) * 1024 if at >= 0 else 0
