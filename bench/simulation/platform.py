"""The imitated platform: functions with queues, containers and nodes, moved by events; decisions come from the server.

What is modelled: a cold start takes ``COLD`` seconds of one processor, so starts on a busy node take longer; the user's
imports come on top; a container takes 50 ms to leave. The scheduler looks at most each 10 ms when woken, and each
second. What is not: processors are not used up by inputs (most wait for something, and requests are shares).
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import random
import time
from collections import deque

from simulation import loads, policies
from windlass.server.decide import attempts, place, reclaim, scale, share

TICK, PAUSE, LEAVE = 1.0, 0.010, 0.05
LONG = 0.050  # an input that runs so long has those behind it given back (runner/attendant.py)
STARTING = 3.0
MAX_CONTAINERS, STARTING_PER_CPU = 200, 3
THRASH = 10.0
"""A start so soon after a container of the same function was stopped is thrash."""


@dataclasses.dataclass
class Measured:
    """What one run has shown."""

    waits: list[float] = dataclasses.field(default_factory=list)
    starts: int = 0
    container_seconds: float = 0.0
    thrash: int = 0
    unused: int = 0
    """Containers that ended without having run anything."""
    done: int = 0
    grants: int = 0
    deciding: float = 0.0
    """Seconds of this machine spent in placement."""


class Container:
    __slots__ = ("began", "draining", "function", "held", "id", "idle_since", "node", "ready", "running", "served")

    def __init__(self, identity: str, function: Function, node: str, now: float) -> None:
        self.id, self.function, self.node, self.began = identity, function, node, now
        self.ready = self.draining = False
        self.idle_since = now
        self.held: deque[tuple[float, float]] = deque()
        self.running: float | None = None
        self.served = 0


class Function:
    def __init__(self, spec: loads.Function) -> None:
        self.spec = spec
        self.queue: deque[tuple[float, float]] = deque()
        self.backlog = spec.backlog
        self.containers: dict[str, Container] = {}
        self.free: dict[str, Container] = {}
        self.running = self.failures = self.owes = 0
        self.seconds: float | None = None
        self.startup: float | None = None
        self.not_before = self.last_active = 0.0
        self.stopped_at = -THRASH
        self.last_start = 0.0
        self.rate = policies.Rate()

    @property
    def queued(self) -> int:
        return len(self.queue) + self.backlog

    def take(self, now: float) -> tuple[float, float]:
        if self.queue:
            return self.queue.popleft()
        self.backlog -= 1
        return now, self.spec.each

    def counted(self) -> list[Container]:
        return [c for c in self.containers.values() if not c.draining]


class Platform:
    """One load under one policy."""

    def __init__(self, load: loads.Load, policy: policies.Policy, *, reclaims: bool = True, seed: int = 0) -> None:
        self.load, self.policy, self.reclaims = load, policy, reclaims
        self.dice = random.Random(seed)
        self.now = 0.0
        self.events: list[tuple[float, int, str, object]] = []
        self.order = itertools.count()
        self.functions = {spec.name: Function(spec) for spec in load.functions}
        self.active: dict[str, Function] = {
            n: f for n, f in self.functions.items() if f.queued or f.spec.minimum or f.spec.buffer
        }
        self.names = [f"n{i}" for i in range(load.nodes)]
        self.here: dict[str, list[int]] = {name: [0, 0] for name in self.names}  # MiB, containers
        self.starting: dict[str, dict[str, Container]] = {name: {} for name in self.names}
        self.nodes: dict[str, place.Node] = {}
        self.changed, self.changing = set(self.names), set()
        self.leaving = 0
        self.look_at: float | None = None
        self.looked = -1.0
        self.measured = Measured()
        self.expected = len(load.arrivals) + sum(function.backlog for function in load.functions)

    def run(self) -> Measured:
        for at, name, seconds in self.load.arrivals:
            self._at(at, "arrival", (name, seconds))
        self._wake()
        end = self.load.until or float("inf")
        while self.events and self.events[0][0] <= end:
            self.now, _, kind, what = heapq.heappop(self.events)
            getattr(self, f"_{kind}")(what)
            if self.measured.done == self.expected:
                break
        for function in self.functions.values():
            for container in function.containers.values():
                self.measured.container_seconds += self.now - container.began
        return self.measured

    def _at(self, when: float, kind: str, what: object = None) -> None:
        heapq.heappush(self.events, (when, next(self.order), kind, what))

    # -- events ---------------------------------------------------------------------------------------------

    def _arrival(self, what: tuple[str, float]) -> None:
        name, seconds = what
        function = self.functions[name]
        self.active[name] = function
        function.queue.append((self.now, seconds))
        function.rate.seen(self.now)
        self._dispatch(function)

    def _look(self, _: object) -> None:
        if self.look_at != self.now:
            return
        self.look_at, self.looked = None, self.now
        self._scale_all()
        if self.active and self.look_at is None:
            self._look_later(self.now + TICK)

    def _wake(self) -> None:
        self._look_later(max(self.now, self.looked + PAUSE))

    def _look_later(self, when: float) -> None:
        if self.look_at is None or when < self.look_at:
            self.look_at = when
            self._at(when, "look")

    def _up(self, container: Container) -> None:
        function = container.function
        self.starting[container.node].pop(container.id, None)
        self.changed.add(container.node)
        if container.draining:
            return
        if self.dice.random() < function.spec.crashes:
            function.failures += 1
            function.not_before = self.now + attempts.start_backoff(function.failures)
            self._end(container)
            return
        function.failures, function.not_before = 0, 0.0
        function.startup = attempts.smooth(function.startup, self.now - container.began)
        container.ready, container.idle_since = True, self.now
        function.free[container.id] = container
        self._dispatch(function)

    def _finish(self, what: tuple[Container, float]) -> None:
        container, seconds = what
        function = container.function
        function.running -= 1
        function.seconds = attempts.smooth(function.seconds, seconds)
        function.last_active = self.now
        container.running, container.served = None, container.served + 1
        self.measured.done += 1
        if container.held:
            self._run(container)
        elif container.draining:
            self._leave(container)
            return
        else:
            container.idle_since = self.now
        if not container.draining:
            function.free[container.id] = container
        self._dispatch(function)

    def _release(self, what: tuple[Container, float]) -> None:
        """What waits behind a long one is given back."""
        container, began = what
        if container.running != began or not container.held:
            return
        function = container.function
        function.seconds = max(function.seconds or 0.0, LONG, attempts.SHORT)
        while container.held:
            function.queue.appendleft(container.held.pop())
            function.running -= 1
        self._dispatch(function)

    def _gone(self, container: Container) -> None:
        self.leaving -= 1
        self._end(container)

    # -- the apply room, in short ---------------------------------------------------------------------------

    def _dispatch(self, function: Function) -> None:
        for container in sorted(function.free.values(), key=lambda c: len(c.held))[: function.owes]:
            function.owes -= 1
            self._stop(container)
        free = function.free
        while free and function.queued:
            limit = attempts.capacity(function.seconds, single_use=False)
            container = next(reversed(free.values()))
            room = limit - len(container.held) - (container.running is not None)
            if room > 0:
                count = 1 if room == 1 else min(room, attempts.share(function.queued, len(free), function.seconds))
                for _ in range(min(count, function.queued)):
                    container.held.append(function.take(self.now))
                    function.running += 1
                if container.running is None:
                    self._run(container)
            free.pop(container.id)
        if function.queued and not free:
            self._wake()
            if not function.containers and (missing := self._scale(function)):
                self._start([self._wish(function, missing)])

    def _run(self, container: Container) -> None:
        came, seconds = container.held.popleft()
        function = container.function
        if not self.load.watch or function.spec.name == self.load.watch:
            self.measured.waits.append(self.now - came)
        container.running = self.now
        self._at(self.now + seconds, "finish", (container, seconds))
        if seconds > LONG and container.held:
            self._at(self.now + LONG, "release", (container, self.now))

    def _scale_all(self) -> None:
        wishes = []
        for name, function in list(self.active.items()):
            function.owes = 0
            if not (function.queued or function.containers or function.spec.minimum):
                del self.active[name]
                continue
            if missing := self._scale(function):
                wishes.append(self._wish(function, missing))
        if wishes:
            self._start(wishes)

    def _wish(self, function: Function, missing: int) -> place.Wish:
        spec = function.spec
        return place.Wish(spec.name, spec.memory, missing, len(function.counted()), spec.app, function.last_start)

    def _scale(self, function: Function) -> int:
        counted = function.counted()
        if function.running or function.queued:
            function.last_active = self.now
        wanted = self.policy.needed(function, self.now)
        if wanted > len(counted):
            starting = sum(not c.ready for c in counted)
            missing = scale.probing(wanted - len(counted), failures=function.failures, starting=starting)
            return missing if self.now >= function.not_before else 0
        for identity in self.policy.surplus(function, counted, wanted, self.now):
            self._stop(function.containers[identity])
        return 0

    def _nodes(self) -> list[place.Node]:
        """Made anew only where something changed or starts."""
        most, recent = int(self.load.cpus * STARTING_PER_CPU), self.now - STARTING
        for name in self.changed | {name for name in self.changing if self.starting[name]}:
            promised, count = self.here[name]
            starting = sum(c.began > recent for c in self.starting[name].values())
            self.nodes[name] = place.Node(
                name, self.load.memory, promised, count, starting, MAX_CONTAINERS, most
            )
        self.changing = {name for name in self.changing | self.changed if self.starting[name]}
        self.changed = set()
        return list(self.nodes.values())

    def _start(self, wishes: list[place.Wish]) -> None:
        nodes, pools = self._nodes(), self._pools()
        began = time.perf_counter()
        room = share.Room(sum(n.memory for n in nodes), sum(n.max_containers for n in nodes))
        placement = place.assign(nodes, wishes, share.of_apps(pools, room))
        self.measured.deciding += time.perf_counter() - began
        self.measured.grants += len(placement.grants)
        for grant in placement.grants:
            self._make(self.functions[grant.function_id], grant.node)
        if placement.short and self.reclaims:
            taken = reclaim.take(
                self._nodes(), self._pools(), self._idle(), placement.short, leaving=self.leaving, now=self.now
            )
            for identity in taken.stop:
                self._stop(next(f.containers[identity] for f in self.active.values() if identity in f.containers))
            for name, count in taken.owes.items():
                self.functions[name].owes = count
                self._dispatch(self.functions[name])

    def _pools(self) -> list[share.Pool]:
        return [self._pool(function) for function in self.active.values() if function.containers]

    def _pool(self, function: Function) -> share.Pool:
        spec, counted = function.spec, function.counted()
        age = self.now - max((c.began for c in counted), default=self.now)
        keeps = reclaim.keeps(spec.minimum, working=bool(function.queued or function.running), age=age)
        return share.Pool(spec.name, spec.app, spec.memory, len(counted), keeps)

    def _idle(self) -> list[reclaim.Idle]:
        found = []
        for f in self.active.values():
            if f.queued or not f.containers:
                continue
            counted = f.counted()
            idle = sorted((c for c in counted if c.ready and c.running is None), key=lambda c: c.idle_since)
            extra = max(0, len(counted) - max(f.spec.minimum, f.running))
            found += [
                reclaim.Idle(c.id, c.node, f.spec.name, f.spec.memory, c.idle_since, number == len(counted))
                for number, c in enumerate(idle[:extra], 1)
            ]
        return found

    def _make(self, function: Function, node: str) -> None:
        container = Container(f"c{next(self.order)}", function, node, self.now)
        function.containers[container.id] = self.starting[node][container.id] = container
        self.here[node][0] += function.spec.memory
        self.here[node][1] += 1
        self.changed.add(node)
        function.last_start = self.now
        self.measured.starts += 1
        self.measured.thrash += self.now - function.stopped_at < THRASH
        busy = max(1.0, len(self.starting[node]) / self.load.cpus)
        self._at(self.now + loads.COLD * busy * self.dice.uniform(0.9, 1.25) + function.spec.imports, "up", container)

    def _stop(self, container: Container) -> None:
        if container.draining:
            return
        container.draining = True
        container.function.free.pop(container.id, None)
        container.function.stopped_at = self.now
        self.leaving += 1
        if container.running is None:
            self._at(self.now + LEAVE, "gone", container)

    def _leave(self, container: Container) -> None:
        self._at(self.now + LEAVE, "gone", container)

    def _end(self, container: Container) -> None:
        function = container.function
        function.containers.pop(container.id)
        function.free.pop(container.id, None)
        self.starting[container.node].pop(container.id, None)
        self.here[container.node][0] -= function.spec.memory
        self.here[container.node][1] -= 1
        self.changed.add(container.node)
        self.measured.container_seconds += self.now - container.began
        self.measured.unused += not container.served
        self._wake()
        self._dispatch(function)
