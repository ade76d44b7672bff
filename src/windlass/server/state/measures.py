"""What the server counts about itself while it works: numbers that only grow, cheap enough for every input.

What can be looked up when somebody asks (queues, containers, GPUs) is not counted here: ``apply.metrics`` looks.
"""

from __future__ import annotations

import bisect
import collections
from collections.abc import Sequence

from windlass.server.state import moves

_SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Timing:
    """Durations by the smallest of ``bounds`` that they do not exceed; the last count is of those beyond all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = _SHORT) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Measures:
    """Since the server began."""

    def __init__(self) -> None:
        self.ended = [0] * len(moves.Status)
        """Inputs by ``moves.Status``. A list, because an enumeration's member is slow as a key."""
        self.web: collections.Counter[int] = collections.Counter()
        """Requests to web functions by HTTP status."""
        self.starts = {phase: Timing(_LONG) for phase in ("make", "import", "enter", "whole")}
        """Of containers that became ready."""
        self.looks = Timing()
        """Of the scheduler."""
        self.lag = Timing()
        """How much later than asked for the event loop came."""
