"""What somebody who knows the future would need: bounds that no policy can beat, to measure all of them by.

For each function alone, on machines without end: a container is ready at the very moment when an input comes
(nobody waits), the one that became free last is taken if it became so within the window, and a container that will
not be taken again ends at once. So its starts are the fewest with which nobody waits, and its container-seconds are
work and the silences that are bridged. On a full machine somebody must wait, whatever is known: the waits are then
those of a queue in front of all slots, served in order of arrival, without any start.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import NamedTuple

from simulation import loads


class Bound(NamedTuple):
    starts: int
    container_seconds: float
    p50: float
    p99: float


def bound(load: loads.Load) -> Bound:
    starts, seconds = 0, 0.0
    by_name: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for at, name, duration in load.arrivals:
        by_name[name].append((at, duration))
    for function in load.functions:
        one = _alone(by_name[function.name], function.window)
        starts, seconds = starts + one[0], seconds + one[1]
    waits = _in_line(load)
    return Bound(starts, seconds, percentile(waits, 0.5), percentile(waits, 0.99))


def _alone(arrivals: list[tuple[float, float]], window: float) -> tuple[int, float]:
    starts, seconds = 0, 0.0
    busy: list[float] = []
    idle: list[float] = []  # when each became free, the latest last
    for at, duration in arrivals:
        while busy and busy[0] <= at:
            idle.append(heapq.heappop(busy))
        if idle and at - idle[-1] <= window:
            seconds += at - idle.pop()
        else:
            starts += 1
        seconds += duration
        heapq.heappush(busy, at + duration)
    return starts, seconds


def _in_line(load: loads.Load) -> list[float]:
    """Only inputs of the watched function stand in line: the others could always let them pass."""
    memory = {function.name: function.memory for function in load.functions}
    names = [load.watch] if load.watch else list(memory)
    slots = int(load.nodes * min(200, load.memory / min(memory[name] for name in names)))
    free = [0.0] * slots
    waits = []
    for at, name, duration in load.arrivals:
        if name in names:
            begin = max(at, heapq.heappop(free))
            waits.append(begin - at)
            heapq.heappush(free, begin + duration)
    return waits


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
