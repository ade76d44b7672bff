"""Taking containers from those who have more than they need, or more than others, when the machines are full.

Idle containers go first: for a function that has none, any that its own does not need now; for others, those
that have idled for ``LINGER``, but not the last one of their function. When that is not enough, whoever has most
gives: a container of it ends after what it runs, but only if the giver then still has no less than the taker. So each
move makes shares more equal, and none can be undone by another. A function that has none and finds no giver of that
kind gets one from whoever has most containers. Nobody gives what ``min_containers`` keeps, nor the last container that
it works with, unless it has had it for a ``TURN``: so more functions than there is room for take turns. Running inputs
are never interrupted: what they have done so far may be hours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from windlass.server.decide import place, share

LINGER = 10.0
"""Seconds for which an idle container is its function's own, even when others wait who have some already."""
TURN = 60.0
"""Seconds for which a function keeps its last container while others have none."""
MOST_MOVES = 64
"""In one look: the next one sees better what came of these."""


class Idle(NamedTuple):
    """A container that its function could do without now. ``last``: its function's last one."""

    container_id: str
    node: str
    function_id: str
    memory: int
    since: float
    last: bool


def keeps(minimum: int, *, working: bool, age: float) -> int:
    """How many of a function's containers are not given away. ``age``: seconds since its latest one was started."""
    return max(minimum, int(working and age < TURN))


class Taken(NamedTuple):
    """``stop``: idle containers. ``owes``: how many each function gives up as they finish."""

    stop: list[str]
    owes: dict[str, int]


def take(
    nodes: Iterable[place.Node],
    pools: list[share.Pool],
    idle: list[Idle],
    short: list[place.Wish],
    *,
    leaving: int,
    now: float,
) -> Taken:
    """What makes room for the wishes in ``short``. ``leaving``: containers that end already: what they leave is not
    asked for a second time."""
    here = {node.name: node for node in nodes}
    room = share.Room(sum(n.memory for n in here.values()), sum(n.max_containers for n in here.values()))
    owners = _Owners(pools, room)
    spare = _Spare(here, idle)
    queue = share.Queue(room, short, owners.apps)
    stop: list[str] = []
    owes: dict[str, int] = defaultdict(int)
    moves = 0
    while moves < MOST_MOVES and (wish := queue.next()) is not None:
        moves += 1
        if leaving > 0:
            leaving -= 1
        elif found := spare.pick(wish, now):
            stop += found
        elif gifts := owners.give(wish):
            for function_id in gifts:
                owes[function_id] += 1
        else:
            queue.refused()
            continue
        owners.taken(wish)
        queue.granted()
    return Taken(stop, dict(owes))


class _Spare:
    """Idle containers by node."""

    def __init__(self, nodes: dict[str, place.Node], idle: list[Idle]) -> None:
        self._nodes = nodes
        self._idle: dict[str, dict[str, Idle]] = defaultdict(dict)
        for one in idle:
            if one.node in nodes:
                self._idle[one.node][one.container_id] = one

    def pick(self, wish: place.Wish, now: float) -> list[str]:
        """The fewest containers of one node that make room."""
        first = wish.has == 0
        best: list[str] = []
        where = ""
        for name, here in self._idle.items():
            spares = [
                place.Spare(one.container_id, one.memory, one.since)
                for one in here.values()
                if one.function_id != wish.function_id and (first or (now - one.since >= LINGER and not one.last))
            ]
            found = place.evicted(self._nodes[name], wish.memory, spares, first=first) if spares else []
            if found and (not best or len(found) < len(best)):
                best, where = found, name
        for container_id in best:
            gone = self._idle[where].pop(container_id)
            node = self._nodes[where]
            self._nodes[where] = node._replace(promised=node.promised - gone.memory, containers=node.containers - 1)
        if best:
            node = self._nodes[where]
            self._nodes[where] = node._replace(promised=node.promised + wish.memory, containers=node.containers + 1)
        return best


class _Owners:
    """Who has how much."""

    def __init__(self, pools: list[share.Pool], room: share.Room) -> None:
        self._room = room
        self.apps = share.of_apps(pools, room)
        self._pools = {pool.function_id: pool for pool in pools}
        self._rich = [pool.function_id for pool in pools if pool.has > pool.keeps]

    def give(self, wish: place.Wish) -> list[str]:
        """From whom containers come for one of ``wish``; nothing when nobody would still have as much as the taker."""
        gifts: list[str] = []
        before = dict(self.apps), dict(self._pools)
        freed = 0
        while freed < wish.memory:
            pool = self._richest(wish, fair=True) or (self._richest(wish, fair=False) if wish.has == 0 else None)
            if pool is None:
                self.apps, self._pools = before
                return []
            self._pools[pool.function_id] = pool._replace(has=pool.has - 1)
            self.apps[pool.app] -= self._room.unit(pool.memory)
            freed += pool.memory
            gifts.append(pool.function_id)
        return gifts

    def _richest(self, wish: place.Wish, *, fair: bool) -> share.Pool | None:
        """The function with most, in the app with most, of those that may give; ``fair``: and then still have as much
        as the taker."""
        known = self._pools.get(wish.function_id)
        unit = self._room.unit(wish.memory)
        mine = ((known.has if known else wish.has) + 1) * unit
        app = self.apps.get(wish.app, 0.0) + unit
        best: share.Pool | None = None
        most = (0.0, 0.0)
        for pool in (self._pools[function_id] for function_id in self._rich):
            if pool.has <= pool.keeps or pool.function_id == wish.function_id:
                continue
            one = self._room.unit(pool.memory)
            own, theirs = pool.has * one, self.apps[pool.app]
            if fair and (own - one < mine if pool.app == wish.app else theirs - one < app):
                continue
            size = (theirs, own) if fair else (own, theirs)
            if size > most:
                best, most = pool, size
        return best

    def taken(self, wish: place.Wish) -> None:
        self.apps[wish.app] = self.apps.get(wish.app, 0.0) + self._room.unit(wish.memory)
        if (pool := self._pools.get(wish.function_id)) is not None:
            self._pools[wish.function_id] = pool._replace(has=pool.has + 1)
