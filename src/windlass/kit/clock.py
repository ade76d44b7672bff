"""Time is handed in: everything that needs it receives a clock; pure code receives ``now``.

The machine's clock is set now and then, by hand, by its time service, or after the machine slept. Whoever subtracts
two times of day would take that for time that passed. So ``now`` goes on evenly until somebody ``follow``s, who moves
along what began before.
"""
from __future__ import annotations

import asyncio
import time
from typing import Protocol

_LEAP = 1.0  # seconds; less is not worth it, and two readings are never of the same moment


class Clock(Protocol):
    """What time it is, and waiting for it to pass. All in seconds."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never jump."""

    def follow(self) -> float:
        """Have ``now`` say what the machine's clock says; by how much it leapt for that."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""


class SystemClock:
    """The real one."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic()

    def follow(self) -> float:
        leap = time.time() - self.now()
        if abs(leap) < _LEAP:
            return 0.0
        self._ahead += leap
        return leap

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
