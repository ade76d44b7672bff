"""How many containers a function should have.

The work that waits is weighed by how long an input lately ran: a container that is still starting is worth its cost
only if the others would be busy for longer than a good part of that start. So ten thousand no-ops stay on the warm
container, a hundred inputs of unknown or long duration get a hundred, and what takes six seconds to import is not
started for work that is done before it is there.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Policy(NamedTuple):
    """How much work one container is trusted with before another is started: ``starts`` times what a start lately took,
    within ``least`` and ``most`` seconds."""

    starts: float
    least: float
    most: float

    def horizon(self, startup: float | None) -> float:
        return self.least if startup is None else min(self.most, max(self.least, self.starts * startup))


POLICY = Policy(starts=0.5, least=0.25, most=10.0)
"""The best trade-off of those that ``bench/simulate.py`` compares (ADR 0013)."""

LONG = 0.1
"""Below this many seconds, what a running input has taken so far says nothing."""


class Sample(NamedTuple):
    """What the autoscaler sees of one function.

    ``busy``: inputs that run; ``seconds``: how long one ran lately, None when unknown; ``elapsed``: how long
    containers have been running by now, on average, for each input they hold. ``active``: something was queued or ran
    within the scale-down window. ``unit``: inputs that one container is planned with: side by side, or as a batch.
    ``startup``: how long a container lately took to start, None before the first. ``single``: containers are used once.
    """

    queued: int
    busy: int
    seconds: float | None
    elapsed: float
    active: bool
    minimum: int
    maximum: int
    buffer: int
    unit: int = 1
    startup: float | None = None
    single: bool = False


def needed(sample: Sample, policy: Policy = POLICY) -> int:
    """Containers that should exist, before capacity is looked at."""
    load = math.ceil((sample.queued + sample.busy) / sample.unit)
    floor, ceiling = sample.minimum, sample.maximum or 1 << 30
    if load == 0:
        wanted = sample.buffer if sample.active else 0
    else:
        wanted = _for_load(load, sample, policy) + sample.buffer
    return max(floor, min(wanted, ceiling))


def in_clusters(sample: Sample, size: int) -> Sample:
    """The same where ``size`` containers run each input together: bounds, which are of containers, become bounds of
    clusters, and none is ever half full."""
    ceiling = max(1, sample.maximum // size) if sample.maximum else 0
    return sample._replace(
        minimum=math.ceil(sample.minimum / size), maximum=ceiling, buffer=math.ceil(sample.buffer / size), unit=1
    )


def _for_load(load: int, sample: Sample, policy: Policy) -> int:
    if sample.seconds is None or sample.single:
        return load
    # What ran in a moment until now may take long from now on: then what runs shows it before it ends.
    seconds = max(sample.seconds, sample.elapsed) if sample.elapsed >= LONG else sample.seconds
    return min(load, max(1, math.ceil(load * seconds / policy.horizon(sample.startup))))


def probing(missing: int, *, failures: int, starting: int) -> int:
    """How many of the ``missing`` containers may start when the last ``failures`` starts failed: one at a time finds
    out whether the cause is gone."""
    return missing if not failures else min(missing, max(0, 1 - starting))


class Idle(NamedTuple):
    """A ready container without work, and since when."""

    container_id: str
    since: float


def surplus(idle: list[Idle], *, existing: int, wanted: int, window: float, now: float) -> list[str]:
    """Idle containers to stop: longest idle first, never below ``wanted``."""
    spare = existing - wanted
    if spare <= 0:
        return []
    old = sorted((i for i in idle if now - i.since >= window), key=lambda i: i.since)
    return [i.container_id for i in old[:spare]]
