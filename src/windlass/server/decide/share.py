"""Fair shares of a machine between apps, and within an app between its functions.

A share is the part of the machines that somebody's containers take: of memory or of container slots, whichever
is more. The rule, in the order in which it is applied:

1. The next free place goes to the app with the smallest share that wants one, in it to the function with the smallest;
   of equals, to the one that has waited longest.
2. When nothing is free, idle containers go before their time (``reclaim``).
3. When nothing idles, whoever has most gives: a container of it ends after what it runs (``reclaim``).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from windlass.server.decide import place

class Room(NamedTuple):
    """What all machines together have; memory in MiB, 0 when unknown."""

    memory: int
    slots: int

    def unit(self, memory: int) -> float:
        """The share that one container of ``memory`` MiB is."""
        return max(1 / max(1, self.slots), memory / self.memory if self.memory else 0.0)


class Pool(NamedTuple):
    """A function's containers. ``keeps``: how many of them are not given away (``reclaim.keeps``)."""

    function_id: str
    app: str
    memory: int
    has: int
    keeps: int


def of_apps(pools: Iterable[Pool], room: Room) -> dict[str, float]:
    """The share of each app."""
    held: dict[str, float] = defaultdict(float)
    for pool in pools:
        held[pool.app] += pool.has * room.unit(pool.memory)
    return held


class Queue:
    """Who is next: a heap of apps, each with a heap of its functions, by share.

    ``next`` shows a wish; ``granted`` or ``refused`` must follow, once.
    """

    def __init__(self, room: Room, wishes: Iterable[place.Wish], held: Mapping[str, float]) -> None:
        self._room = room
        self._functions: dict[str, list[tuple[float, float, int, place.Wish]]] = defaultdict(list)
        own: dict[str, float] = defaultdict(float)
        for order, wish in enumerate(wishes):
            share = wish.has * room.unit(wish.memory)
            self._functions[wish.app].append((share, wish.since, order, wish))
            own[wish.app] += share
        for heap in self._functions.values():
            heapq.heapify(heap)
        self._apps = [
            (held.get(app, own[app]), heap[0][1], order, app)
            for order, (app, heap) in enumerate(self._functions.items())
        ]
        heapq.heapify(self._apps)

    def next(self) -> place.Wish | None:
        return self._functions[self._apps[0][3]][0][3] if self._apps else None

    def granted(self) -> None:
        share, _, order, app = self._apps[0]
        heap = self._functions[app]
        mine, since, number, wish = heap[0]
        unit = self._room.unit(wish.memory)
        if wish.missing > 1:
            after = wish._replace(missing=wish.missing - 1, has=wish.has + 1)
            heapq.heapreplace(heap, (mine + unit, since, number, after))
        else:
            heapq.heappop(heap)
        self._again(share + unit, order, app)

    def refused(self) -> None:
        """No more for this wish."""
        share, _, order, app = self._apps[0]
        heapq.heappop(self._functions[app])
        self._again(share, order, app)

    def _again(self, share: float, order: int, app: str) -> None:
        if heap := self._functions[app]:
            heapq.heapreplace(self._apps, (share, heap[0][1], order, app))
        else:
            heapq.heappop(self._apps)
