"""Scaling: for each function with something to do, compare what is needed with what is; start or stop containers."""

from __future__ import annotations

import math

from windlass.server.apply import containers, dispatch
from windlass.server.apply import core as core_module
from windlass.server.decide import place, reclaim, scale, share
from windlass.server.state import machines, moves

Core = core_module.Core
_MIB = 1024 * 1024
_STARTING = 3.0
"""Seconds for which a starting container counts as one that keeps a processor busy; later it imports, or waits."""


def leasing(core: Core) -> None:
    """The end of a turn: lease, then start containers for what found none."""
    turn = core.turn
    while turn.dispatch:
        functions, turn.dispatch = turn.dispatch, {}
        for function in functions:
            if function.owes:
                _give(core, function)
            dispatch.dispatch(core, function)
            if function.queued and not function.free:
                core.scheduler.set()
                if not function.containers:
                    _first(core, function)


def _give(core: Core, function: machines.Function) -> None:
    """What it owes to others: containers that have just finished something end, the emptiest first."""
    done = sorted(function.free.values(), key=lambda c: len(c.held))[: function.owes]
    for container in done:
        function.owes -= 1
        containers.stop(core, container, graceful=True, why="others have less")


def _first(core: Core, function: machines.Function) -> None:
    """Do not let a cold function wait for the scheduler's next look."""
    now = core.clock.now()
    missing = scale_function(core, function, now)
    if missing:
        _start(core, [_wish(function, missing)], now)


def _wish(function: machines.Function, missing: int) -> place.Wish:
    has, memory = len(_counted(function)), containers.memory_of(function)
    return place.Wish(function.id, memory, missing, has, function.app.id, function.last_start)


def scale_all(core: Core, now: float) -> None:
    """One look at every function."""
    wishes = []
    for function in list(core.world.functions.values()):
        function.owes = 0
        if function.queued or function.running or function.containers or _minimum(function):
            missing = scale_function(core, function, now)
            if missing:
                wishes.append(_wish(function, missing))
    if wishes:
        _start(core, wishes, now)


def _minimum(function: machines.Function) -> int:
    app = function.app
    return function.autoscaler["min_containers"] if app.published and app.alive and not app.draining else 0


def scale_function(core: Core, function: machines.Function, now: float) -> int:
    """Stop what is too much; returned: how many containers are missing."""
    app = function.app
    if not app.alive or not app.published:
        return 0
    counted = _counted(function)
    wanted = _wanted(function, now)
    if wanted > len(counted):
        return _startable(function, wanted - len(counted), counted) if now >= function.not_before else 0
    _stop(core, function, counted, wanted, now)
    return 0


def _startable(function: machines.Function, missing: int, counted: list[machines.Container]) -> int:
    """In an ephemeral app the failures of the first few are all that is tried."""
    failures = function.failures if function.app.state == moves.AppState.DEPLOYED else 0
    return scale.probing(missing, failures=failures, starting=sum(c.starting for c in counted))


def _counted(function: machines.Function) -> list[machines.Container]:
    return [c for c in function.containers.values() if c.state <= moves.ContainerState.READY]


def _wanted(function: machines.Function, now: float) -> int:
    if function.broken and not function.queued:
        return function.running
    return scale.needed(_sample(function, now))


def _sample(function: machines.Function, now: float) -> scale.Sample:
    window = function.autoscaler["scaledown_window"]
    busy = [c for c in function.containers.values() if c.held]
    elapsed = sum((now - next(iter(c.held.values())).leased_at) / len(c.held) for c in busy) / max(1, len(busy))
    if function.running or function.queued:
        function.last_active = now
    return scale.Sample(
        queued=function.queued,
        busy=function.running,
        seconds=function.seconds,
        elapsed=elapsed,
        active=bool(function.last_active) and now - function.last_active < max(window, 1.0),
        minimum=_minimum(function),
        maximum=function.autoscaler["max_containers"],
        buffer=function.autoscaler["buffer_containers"],
        startup=function.startup,
    )


def _start(core: Core, wishes: list[place.Wish], now: float) -> None:
    nodes = _nodes(core, now)
    pools = _pools(core, now)
    room = share.Room(sum(n.memory for n in nodes), sum(n.max_containers for n in nodes))
    placement = place.assign(nodes, wishes, share.of_apps(pools, room))
    for grant in placement.grants:
        core.turn.begin()
        containers.start(core, core.world.functions[grant.function_id], core.world.workers[grant.node])
    if placement.short and nodes:
        _make_room(core, placement.short, now)


def _make_room(core: Core, short: list[place.Wish], now: float) -> None:
    """Nothing is free: others' idle containers go before their time, and who has most gives what finishes."""
    leaving = sum(c.state > moves.ContainerState.READY for c in core.world.containers.values())
    taken = reclaim.take(_nodes(core, now), _pools(core, now), _idle(core), short, leaving=leaving, now=now)
    for identity in taken.stop:
        containers.stop(core, core.world.containers[identity], graceful=True, why="room for others")
    for function_id, count in taken.owes.items():
        function = core.world.functions[function_id]
        function.owes = count
        core.turn.begin()
        core.turn.dispatch[function] = None


def _pools(core: Core, now: float) -> list[share.Pool]:
    return [_pool(function, now) for function in core.world.functions.values() if function.containers]


def _pool(function: machines.Function, now: float) -> share.Pool:
    counted = _counted(function)
    age = now - max((c.created_at for c in counted), default=now)
    keeps = reclaim.keeps(_minimum(function), working=bool(function.queued or function.running), age=age)
    return share.Pool(function.id, function.app.id, containers.memory_of(function), len(counted), keeps)


def _idle(core: Core) -> list[reclaim.Idle]:
    """Containers that their functions could do without now."""
    found = []
    for function in core.world.functions.values():
        if function.queued or not function.containers:
            continue
        counted = _counted(function)
        idle = sorted(
            (c for c in counted if c.state == moves.ContainerState.READY and not c.held), key=lambda c: c.idle_since
        )
        extra = max(0, len(counted) - max(_minimum(function), function.running))
        memory = containers.memory_of(function)
        for number, container in enumerate(idle[:extra], 1):
            last = number == len(counted)
            found.append(
                reclaim.Idle(container.id, container.node, function.id, memory, container.idle_since, last)
            )
    return found


def _nodes(core: Core, now: float) -> list[place.Node]:
    """One pass over the containers, whatever the number of nodes."""
    here: dict[str, list[int]] = {node: [0, 0, 0] for node in core.world.workers}
    for container in core.world.containers.values():
        if (counts := here.get(container.node)) is not None:
            counts[0] += containers.memory_of(container.function)
            counts[1] += 1
            counts[2] += container.starting and now - container.created_at < _STARTING
    return [_node(core, core.world.workers[name], *counts) for name, counts in here.items()]


def _node(core: Core, worker: machines.Worker, promised: int, count: int, starting: int) -> place.Node:
    return place.Node(
        name=worker.node,
        memory=worker.memory // _MIB,
        promised=promised,
        containers=count,
        starting=starting,
        max_containers=core.settings.max_containers,
        max_starting=max(2, math.ceil(worker.cpus * core.settings.starting_per_cpu)),
    )


def _stop(core: Core, function: machines.Function, counted: list[machines.Container], wanted: int, now: float) -> None:
    idle = [scale.Idle(c.id, c.idle_since) for c in counted if c.state == moves.ContainerState.READY and not c.held]
    window = function.autoscaler["scaledown_window"]
    for identity in scale.surplus(idle, existing=len(counted), wanted=wanted, window=window, now=now):
        core.turn.begin()
        containers.stop(core, function.containers[identity], graceful=True, why="idle")
