"""Spare time of this machine: who may use it, and when there is some."""
from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from windlass.kit import files
from windlass.worker.snapshots import reserve

_WINDOW = 0.08  # seconds: the kernel counts in hundredths
_REST = 2.0  # times as long as one took, until the next one
_IDLE = (3, 4)  # of the words of /proc/stat: idle, and waiting for a disk


class Processors:
    """How much of their time nobody uses."""

    def __init__(self) -> None:
        self._at = 0.0
        self._counted = (0, 0)
        self._idle = 0.0

    def idle(self) -> float:
        """The part since the last look, or since the one before where that is not long ago."""
        now = time.monotonic()
        if now - self._at >= _WINDOW:
            before, self._counted, self._at = self._counted, _count(), now
            whole = self._counted[1] - before[1]
            self._idle = (self._counted[0] - before[0]) / whole if whole else 0.0
        return self._idle


def _count() -> tuple[int, int]:
    """Ticks of idleness, and all."""
    ticks = [int(word) for word in files.read("/proc/stat").split(b"\n", 1)[0].split()[1:9]]
    return sum(ticks[number] for number in _IDLE), sum(ticks)


class Spare:
    """What is only hoped to be of use is made one by one, by all templates together, and in no more than a third of the
    time."""

    def __init__(self) -> None:
        self._processors = Processors()
        self._calls = 0
        self._wanted_at = time.monotonic()
        self._next_at = 0.0
        self._busy = False

    @contextlib.contextmanager
    def wanted(self) -> Iterator[None]:
        """A call waits for a fork in the block."""
        self._calls += 1
        self._wanted_at = time.monotonic()
        try:
            yield
        finally:
            self._calls -= 1

    def is_now(self, waiting: int, proven: int) -> bool:
        """Whether a template with so many forks ``waiting`` may make one more."""
        now = time.monotonic()
        rested = not self._busy and now >= self._next_at
        settled, idle = now - self._wanted_at, self._processors.idle()
        return reserve.timely(waiting, proven, calls=self._calls, rested=rested, settled=settled, idle=idle)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """One is made in the block. Twice as long as that took, it is others' turn."""
        began, self._busy = time.monotonic(), True
        try:
            yield
        finally:
            now = time.monotonic()
            self._busy, self._next_at = False, now + _REST * (now - began)
