"""Scaling: for each function with something to do, compare what is needed with what is; start or stop containers."""

from __future__ import annotations

import math

from windlass.server.apply import containers, dispatch
from windlass.server.apply import core as core_module
from windlass.server.decide import place, rollout, scale
from windlass.server.state import machines, moves

Core = core_module.Core
_MIB = 1024 * 1024
_REPLACED = "a new version takes its place"
_STARTING = 3.0
"""Seconds for which a starting container counts as one that keeps a processor busy; later it imports, or waits."""


def leasing(core: Core) -> None:
    """The end of a turn: lease, then start containers for what found none."""
    turn = core.turn
    while turn.dispatch:
        functions, turn.dispatch = turn.dispatch, {}
        for function in functions:
            dispatch.dispatch(core, function)
            if function.queued and not function.free:
                core.scheduler.set()
                if not function.containers:
                    _first(core, function)


def _first(core: Core, function: machines.Function) -> None:
    """Do not let a cold function wait for the scheduler's next look."""
    now = core.clock.now()
    missing = scale_function(core, function, now)
    if missing:
        _start(core, [place.Wish(function.id, containers.memory_of(function), missing)], now)


def scale_all(core: Core, now: float) -> None:
    """One look at every function."""
    wishes = []
    for function in list(core.world.functions.values()):
        if function.queued or function.running or function.containers or _minimum(function):
            missing = scale_function(core, function, now)
            if missing:
                wishes.append(place.Wish(function.id, containers.memory_of(function), missing))
    if wishes:
        _start(core, wishes, now)


def _minimum(function: machines.Function) -> int:
    app = function.app
    kept = app.published and app.alive and not app.draining and not function.removed
    return function.autoscaler["min_containers"] if kept else 0


def scale_function(core: Core, function: machines.Function, now: float) -> int:
    """Stop what is too much; returned: how many containers are missing."""
    app = function.app
    if not app.alive or not app.published or function.removed:
        return 0
    counted = _counted(function)
    wanted = _wanted(function, now)
    if function.rolling:
        missing = _roll(core, function, counted, wanted, now)
        return missing if now >= function.not_before else 0
    if wanted > len(counted):
        return wanted - len(counted) if now >= function.not_before else 0
    _stop(core, function, counted, wanted, now)
    return 0


def _roll(
    core: Core, function: machines.Function, counted: list[machines.Container], wanted: int, now: float
) -> int:
    """Containers of an older version give way; returned: how many of the new one are missing."""
    for container in [c for c in counted if c.outdated and c.starting]:
        core.turn.begin()
        containers.stop(core, container, graceful=False, why=_REPLACED)
    old = [c for c in counted if containers.serves_old(c)]
    fresh = [c for c in counted if not c.outdated]
    pool = rollout.Pool(
        wanted=wanted,
        fresh=len(fresh),
        ready=sum(c.state == moves.ContainerState.READY and c.peer is not None for c in fresh),
        old=[rollout.Old(c.id, bool(c.held)) for c in old],
        active=_active(function, now),
        maximum=function.autoscaler["max_containers"],
    )
    for identity in rollout.leaving(pool):
        core.turn.begin()
        containers.stop(core, function.containers[identity], graceful=True, why=_REPLACED)
    function.rolling = bool(old)
    return rollout.starts(pool)


def _active(function: machines.Function, now: float) -> bool:
    window = function.autoscaler["scaledown_window"]
    return bool(function.last_active) and now - function.last_active < max(window, 1.0)


def _counted(function: machines.Function) -> list[machines.Container]:
    return [c for c in function.containers.values() if c.state <= moves.ContainerState.READY]


def _wanted(function: machines.Function, now: float) -> int:
    if function.broken and not function.queued:
        return function.running
    return scale.needed(_sample(function, now))


def _sample(function: machines.Function, now: float) -> scale.Sample:
    busy = [c for c in function.containers.values() if c.held]
    elapsed = sum((now - next(iter(c.held.values())).leased_at) / len(c.held) for c in busy) / max(1, len(busy))
    if function.running or function.queued:
        function.last_active = now
    return scale.Sample(
        queued=function.queued,
        busy=function.running,
        seconds=function.seconds,
        elapsed=elapsed,
        active=_active(function, now),
        minimum=_minimum(function),
        maximum=function.autoscaler["max_containers"],
        buffer=function.autoscaler["buffer_containers"],
    )


def _start(core: Core, wishes: list[place.Wish], now: float) -> None:
    for worker in core.world.workers.values():
        node = node_facts(core, worker, now)
        granted = place.starts(node, wishes)
        if granted:
            core.turn.begin()
            for function_id in granted:
                containers.start(core, core.world.functions[function_id], worker)
        for wish in wishes:
            if wish.function_id not in granted and not place.fits(node, wish.memory):
                _make_room(core, worker, wish, now)


def _make_room(core: Core, worker: machines.Worker, wish: place.Wish, now: float) -> None:
    """Others' idle containers go before their time when somebody has none of what it needs."""
    leaving = any(c.state > moves.ContainerState.READY for c in core.world.containers.values())
    mine = core.world.functions[wish.function_id]
    if leaving or any(not containers.serves_old(c) for c in mine.containers.values()):
        return
    spares = []
    for function in core.world.functions.values():
        idle = [c for c in _counted(function) if c.state == moves.ContainerState.READY and not c.held]
        extra = len(_counted(function)) - max(_minimum(function), function.running)
        for container in sorted(idle, key=lambda c: c.idle_since)[: max(0, extra)]:
            if container.node == worker.node and not function.queued:
                spares.append(place.Spare(container.id, containers.memory_of(function), container.idle_since))
    gone = place.evicted(node_facts(core, worker, now), wish.memory, spares)
    for identity in gone or _oldest(mine):
        core.turn.begin()
        containers.stop(core, core.world.containers[identity], graceful=True, why="room for others")


def _oldest(function: machines.Function) -> list[str]:
    """Where the machine is full of a function's old version, one container of it finishes what it has and goes."""
    old = [c for c in function.containers.values() if containers.serves_old(c)]
    return [c.id for c in sorted(old, key=lambda c: c.created_at)[:1]]


def node_facts(core: Core, worker: machines.Worker, now: float) -> place.Node:
    here = [c for c in core.world.containers.values() if c.node == worker.node]
    return place.Node(
        name=worker.node,
        memory=worker.memory // _MIB,
        promised=sum(containers.memory_of(c) for c in here),
        containers=len(here),
        starting=sum(c.starting and now - c.created_at < _STARTING for c in here),
        max_containers=core.settings.max_containers,
        max_starting=max(2, math.ceil(worker.cpus * core.settings.starting_per_cpu)),
    )


def _stop(core: Core, function: machines.Function, counted: list[machines.Container], wanted: int, now: float) -> None:
    idle = [scale.Idle(c.id, c.idle_since) for c in counted if c.state == moves.ContainerState.READY and not c.held]
    window = function.autoscaler["scaledown_window"]
    for identity in scale.surplus(idle, existing=len(counted), wanted=wanted, window=window, now=now):
        core.turn.begin()
        containers.stop(core, function.containers[identity], graceful=True, why="idle")
