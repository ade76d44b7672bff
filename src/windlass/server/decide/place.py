"""Where containers go, and whether a machine has room for one.

Processor requests are shares and may be promised more than once; memory may not. Who gets the next container is
``share``'s question, answered before each grant; where it goes is answered here: the node that starts fewest at
this moment, of those the one with most memory left (ADR 0013 has the figures against packing).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from windlass import exception
from windlass.server.decide import gpus, share

DEFAULT_CPU = 0.125
DEFAULT_MEMORY = 128  # MiB

RESERVE = 1 / 32
"""Of each node's memory and container slots, kept for functions that have no container: a node that is full of a
long map starts an interactive call at once."""
FIRST = 2
"""Functions that have no container may start so many times ``max_starting`` at once."""


class Node(NamedTuple):
    """What a node has and what was promised. Memory in MiB, 0 when unknown. ``gpus``: that nobody holds."""

    name: str
    memory: int
    promised: int
    containers: int
    starting: int
    max_containers: int
    max_starting: int
    gpus: tuple[gpus.Gpu, ...] = ()


class Wish(NamedTuple):
    """``missing`` more containers of ``memory`` MiB each, for one function of ``app`` that ``has`` some.

    ``since``: when it was last given one; of equals, the one for whom that is longest ago comes first."""

    function_id: str
    memory: int
    missing: int
    has: int = 0
    app: str = ""
    since: float = 0.0
    gpus: gpus.Wanted = ()
    containers: int = 1
    """Of a cluster, which is started whole, on one node, or not at all. ``memory`` and ``gpus`` are those of all of it,
    and ``missing`` and ``has`` count clusters."""


class Grant(NamedTuple):
    """``gpus``: ids of the devices that the container gets."""

    function_id: str
    node: str
    gpus: tuple[str, ...] = ()


class Placement(NamedTuple):
    """``short``: wishes for which no node has room, with what is still missing of them. Wishes that only wait for
    others to have started are in neither."""

    grants: list[Grant]
    short: list[Wish]


class Spare(NamedTuple):
    """A container that idles, that its function does not need now. ``since``: when it ran out of work."""

    container_id: str
    memory: int
    since: float


def fits(node: Node, memory: int, *, first: bool = True, containers: int = 1) -> bool:
    """Whether the machine has what one more container asks for, or so many of them that ask for ``memory`` together.
    ``first``: of a function that has none."""
    slots, total = node.max_containers, node.memory
    if not first:
        slots, total = slots - int(slots * RESERVE), total - int(total * RESERVE)
    return node.containers + containers <= slots and (not node.memory or node.promised + memory <= total)


def assign(nodes: Iterable[Node], wishes: Iterable[Wish], held: Mapping[str, float] | None = None) -> Placement:
    """Containers for the wishes, one after the other to whoever has the smallest share.

    ``held``: the share that each app has already; of those not named, what their wishes say.
    """
    places = _Places(nodes)
    queue = share.Queue(places.room, wishes, held or {})
    grants: list[Grant] = []
    short: list[Wish] = []
    while (wish := queue.next()) is not None:
        if wish.gpus or wish.containers > 1:
            node, waits, devices = places.take_with(wish)
        else:
            (node, waits), devices = places.take(wish.memory, first=wish.has == 0), ()
        if node is not None:
            grants.append(Grant(wish.function_id, node, devices))
            queue.granted()
        else:
            queue.refused()
            if not waits:
                short.append(wish)
    return Placement(grants, short)


_Entry = tuple[float, float, int, Node]
"""Of a heap: how much of what may start at once does, how much memory is promised, a number, the node."""


class _Places:
    """Nodes in heaps by the power of two of the memory that they have left: all nodes of higher heaps have room, so one
    decision costs a look at the head of each heap. A node without any room is in none."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        nodes = list(nodes)
        self.room = share.Room(
            memory=sum([node.memory for node in nodes]), slots=sum([node.max_containers for node in nodes])
        )
        self._heaps: dict[int, list[_Entry]] = {}
        for order, node in enumerate(nodes):
            if node.containers < node.max_containers and node.max_starting > 0:
                self._heaps.setdefault(_size(node), []).append((*_load(node), order, node))
        for heap in self._heaps.values():
            heapq.heapify(heap)
        self._too_big = {True: 1 << 62, False: 1 << 62}
        """By ``first``: what had no room anywhere has none until the next look, and what is bigger neither."""
        self._waits = {True: 0, False: 0}
        """By ``first``: what has room where too much starts, and so has what is smaller."""

    def take(self, memory: int, *, first: bool) -> tuple[str | None, bool]:
        """The node for one more container; or None, and whether waiting for starts to end may help."""
        if memory >= self._too_big[first]:
            return None, False
        if memory <= self._waits[first]:
            return None, True
        best = self._best(memory, first)
        if best is None:
            return None, False
        size, entry = best
        if entry[0] >= (FIRST if first else 1):
            self._waits[first] = memory
            return None, True
        self._fill(size, entry, memory)
        return entry[3].name, False

    def take_with(self, wish: Wish) -> tuple[str | None, bool, tuple[str, ...]]:
        """The same for containers with GPUs and for clusters, of which there are few: all nodes are looked at. That too
        much starts holds a cluster back as it does one container: when it may start, all of it may."""
        first = wish.has == 0
        able = [
            (entry, size, devices)
            for size, heap in self._heaps.items()
            for entry in heap
            if fits(entry[3], wish.memory, first=first, containers=wish.containers)
            and (devices := gpus.choose(entry[3].gpus, wish.gpus) if wish.gpus else ()) is not None
        ]
        if not able:
            return None, False, ()
        entry, size, devices = min(able, key=lambda one: one[0][:3])
        if entry[0] >= (FIRST if first else 1):
            return None, True, ()
        self._fill(size, entry, wish.memory, devices, wish.containers)
        return entry[3].name, False, devices

    def _best(self, memory: int, first: bool) -> tuple[int, _Entry] | None:
        """Of the heads that have room the least busy one; where no head has, whoever has."""
        best: tuple[int, _Entry] | None = None
        least = memory.bit_length()
        for size, heap in self._heaps.items():
            if heap and size >= least and fits(heap[0][3], memory, first=first) and (best is None or heap[0] < best[1]):
                best = size, heap[0]
        if best is None:
            rest = [(size, e) for size, heap in self._heaps.items() if size >= least for e in heap]
            fitting = [(size, entry) for size, entry in rest if fits(entry[3], memory, first=first)]
            best = min(fitting, key=lambda pair: pair[1], default=None)
            if best is None:
                self._too_big[first] = memory
        return best

    def _fill(self, size: int, entry: _Entry, memory: int, devices: tuple[str, ...] = (), count: int = 1) -> None:
        name, total, promised, containers, starting, slots, most, free = entry[3]
        if devices:
            free = tuple(gpu for gpu in free if gpu.id not in devices)
        node = Node(name, total, promised + memory, containers + count, starting + count, slots, most, free)
        heap = self._heaps[size]
        if heap[0] is entry:
            heapq.heappop(heap)
        else:
            heap.remove(entry)
            heapq.heapify(heap)
        if node.containers < slots:
            heapq.heappush(self._heaps.setdefault(_size(node), []), (*_load(node), entry[2], node))


def _size(node: Node) -> int:
    return (node.memory - node.promised).bit_length() if node.memory else 64


def _load(node: Node) -> tuple[float, float]:
    return node.starting / node.max_starting, node.promised / node.memory if node.memory else float(node.containers)


def evicted(node: Node, memory: int, spares: list[Spare], *, first: bool = True) -> list[str]:
    """Idle containers to stop early, longest idle first, so that ``memory`` MiB fit. Empty when they never would."""
    gone = []
    for spare in sorted(spares, key=lambda s: s.since):
        if fits(node, memory, first=first):
            break
        gone.append(spare.container_id)
        node = node._replace(promised=node.promised - spare.memory, containers=node.containers - 1)
    return gone if fits(node, memory, first=first) else []


def check_request(*, cpu: float, memory: int, cpus: float, node_memory: int) -> None:
    """Refuse what no machine can ever give. ``memory`` in MiB; ``cpus``, ``node_memory``: of the largest ones."""
    if cpu > cpus:
        raise exception.InvalidError(
            f"cpu={cpu:g} cores are more than the largest machine has: {cpus:g}", hint="Ask for less with cpu=…"
        )
    if node_memory and memory > node_memory:
        raise exception.InvalidError(
            f"memory={memory:,} MiB is more than the largest machine has: {node_memory:,} MiB",
            hint="Ask for less with memory=…",
        )
