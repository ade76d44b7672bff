"""Whose hours a container's life counts for.

What counts is what it was promised, from the decision that it shall be until it was gone: nobody else could have that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from windlass.server.state import accounting

HOUR = 3600


class Life(NamedTuple):
    """A container, from its beginning up to its end or to now. ``cpu``: seconds of processors that it used in all."""

    began: float
    ended: float
    cores: float
    memory: int
    gpus: int
    cpu: float


def parts(life: Life) -> Iterator[tuple[int, accounting.Held]]:
    """Its hours, with what it had in each of them. Used processor time is spread evenly."""
    whole = max(0.0, life.ended - life.began)
    first = int(life.began // HOUR)
    for hour in range(first, int(max(life.began, life.ended) // HOUR) + 1):
        seconds = min(life.ended, (hour + 1) * HOUR) - max(life.began, hour * HOUR)
        if seconds <= 0 and hour > first:
            break
        seconds = max(0.0, seconds)
        share = seconds / whole if whole else 1.0
        yield (
            hour,
            accounting.Held(
                seconds * life.cores, seconds * life.memory, seconds * life.gpus, share * life.cpu, int(hour == first)
            ),
        )


def clipped(since: float, until: float) -> tuple[int, int]:
    """The whole hours that a range touches: the first, and the one after the last."""
    return int(since // HOUR), -int(-until // HOUR)
