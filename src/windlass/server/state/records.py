"""What is remembered of attempts: a record of those worth a look, figures by the minute of all.

A histogram has eight buckets for each doubling, so that a percentile read from it is within 9 %.
"""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple

from windlass.server.state import moves

_PER_DOUBLING = 8 / math.log(2)
_LEAST = 1e-8  # seconds; below that all is one bucket


class Outcome(enum.IntEnum):
    """How an attempt ended: ``moves.Status`` without items, and ``RETURNED``: given back by no fault of its own."""

    SUCCESS = moves.Status.SUCCESS
    FAILURE = moves.Status.FAILURE
    TIMEOUT = moves.Status.TIMEOUT
    TERMINATED = moves.Status.TERMINATED
    INIT_FAILURE = moves.Status.INIT_FAILURE
    CRASH = moves.Status.CRASH
    RETURNED = 7


FAULTS = frozenset({Outcome.FAILURE, Outcome.TIMEOUT, Outcome.INIT_FAILURE, Outcome.CRASH})


Usage = tuple[float, "float | None", "int | None"]
"""What the runner measured around user code: seconds; processor time and peak of memory, None of short inputs."""


class Record(NamedTuple):
    """One attempt, as a row of ``record``."""

    call: str
    idx: int
    attempt: int
    function: int
    method: str
    kind: int
    outcome: int
    final: bool
    container: int | None
    queue: float
    start: float
    run: float
    cpu: float | None
    peak: int | None
    ended_at: float
    reason: str
    size: int
    blob: str | None
    payload: bytes | None


class Histogram(dict[int, int]):
    """Counts of durations by bucket."""

    __slots__ = ()

    def add(self, seconds: float, count: int = 1) -> None:
        bucket = int(math.log(seconds / _LEAST) * _PER_DOUBLING) if seconds > _LEAST else 0
        self[bucket] = self.get(bucket, 0) + count

    def merge(self, other: dict[int, int]) -> None:
        for bucket, count in other.items():
            self[bucket] = self.get(bucket, 0) + count

    def percentile(self, part: float) -> float | None:
        """Seconds that ``part`` (0 to 1) of all did not exceed; None when there are none."""
        total = sum(self.values())
        left = math.ceil(total * part)
        for bucket in sorted(self):
            left -= self[bucket]
            if left <= 0:
                return _LEAST * math.exp((bucket + 0.5) / _PER_DOUBLING) if bucket else 0.0
        return None


_COUNTS = ("inputs", "failures", "retries", "cancelled", "crashes")
_TIMES = ("queue", "start", "run")


class Minute:
    """Figures of one function over one minute (or, merged, over many)."""

    __slots__ = ("cancelled", "cpu", "crashes", "dirty", "end", "failures", "inputs", "number", "peak", "queue",
                 "retries", "run", "start", "stored")  # fmt: skip

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.end = (number + 1) * 60.0
        self.dirty = False
        self.stored = False
        """Whether a row holds nothing but what is here, so that it may be overwritten."""
        self.inputs = self.failures = self.retries = self.cancelled = self.crashes = 0
        self.queue, self.start, self.run = Histogram(), Histogram(), Histogram()
        self.cpu = 0.0
        self.peak = 0

    def packed(self) -> dict[str, Any]:
        made: dict[str, Any] = {name: getattr(self, name) for name in (*_COUNTS, "cpu", "peak")}
        return {**made, **{name: {str(k): v for k, v in getattr(self, name).items()} for name in _TIMES}}

    def merge(self, packed: dict[str, Any]) -> None:
        for name in (*_COUNTS, "cpu"):
            setattr(self, name, getattr(self, name) + packed[name])
        self.peak = max(self.peak, packed["peak"])
        for name in _TIMES:
            getattr(self, name).merge({int(k): v for k, v in packed[name].items()})
