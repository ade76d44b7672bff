"""Scaling: for each function with something to do, compare what is needed with what is; start or stop containers."""

from __future__ import annotations

import math

from windlass.server.apply import clusters, containers, dispatch
from windlass.server.apply import core as core_module
from windlass.server.apply import gpus as gpu_actions
from windlass.server.decide import capacity, gpus, place, reclaim, rollout, sandboxes, scale, share
from windlass.server.decide import clusters as cluster_decisions
from windlass.server.state import machines, moves

Core = core_module.Core
_MIB = 1024 * 1024
_REPLACED = "a new version takes its place"
_KNOCK = 10.0
"""A server that was asked in vain so many seconds ago shall have a container."""
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
            by_clusters = function.clusters or "cluster" in function.spec
            (clusters if by_clusters else dispatch).dispatch(core, function)
            if function.queued and not function.free:
                core.scheduler.set()
                if not function.containers:
                    _first(core, function)


def _give(core: Core, function: machines.Function) -> None:
    """What it owes to others: containers that have just finished something end, the emptiest first.

    One that has only begun takes an input first, if any waits: else it would begin and end for ever, and neither its
    function nor the others got on.
    """
    done = [c for c in function.free.values() if not (function.queued and not c.served)]
    for container in sorted(done, key=lambda c: len(c.held))[: function.owes]:
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
    wanted = function.spec.get("gpus", [])
    wish = place.Wish(function.id, memory, missing, has, function.app.id, function.last_start, wanted)
    if "cluster" not in function.spec:
        return wish
    size = cluster_decisions.size(function.spec)
    devices = cluster_decisions.together(wanted, size)
    return wish._replace(has=len(function.clusters), memory=memory * size, gpus=devices, containers=size)


def scale_all(core: Core, now: float) -> None:
    """One look at every function."""
    wishes = []
    for function in list(core.world.functions.values()):
        function.owes = 0
        if function.tag == sandboxes.POOL:
            continue
        if function.queued or function.running or function.containers or _minimum(function, now):
            missing = scale_function(core, function, now)
            if missing:
                wishes.append(_wish(function, missing))
    if wishes:
        _start(core, wishes, now)
    if waiting := gpu_actions.waiting(core):
        _make_gpus_free(core, [place.Wish("", 0, 1, gpus=wanted) for wanted in waiting])


def _minimum(function: machines.Function, now: float) -> int:
    app = function.app
    kept = app.published and app.alive and not app.draining and not function.removed
    asked = bool(function.knocked_at) and now - function.knocked_at < _KNOCK
    return max(function.autoscaler["min_containers"], int(asked)) if kept else 0


def scale_function(core: Core, function: machines.Function, now: float) -> int:
    """Stop what is too much; returned: how many containers are missing."""
    app = function.app
    if not app.alive or not app.published or function.removed:
        return 0
    if "cluster" in function.spec:
        return _scale_clusters(core, function, now)
    counted = _counted(function)
    wanted = _wanted(core, function, now)
    if function.rolling:
        missing = _roll(core, function, counted, wanted, now)
        return missing if now >= function.not_before else 0
    if not _lasts(function, wanted > len(counted) > 0, now):
        return 0
    if wanted > len(counted):
        return _startable(function, wanted - len(counted), counted) if now >= function.not_before else 0
    _stop(core, function, counted, wanted, now)
    return 0


def _scale_clusters(core: Core, function: machines.Function, now: float) -> int:
    """The same in clusters; those of an older version finish what they have."""
    clusters.tidy(core, function)
    lasting = [one for one in function.clusters.values() if one.lasts]
    single = [one for one in _counted(function) if one.cluster is None]  # of a version that was not clustered
    for old in [*single, *(one.first for one in lasting if one.first.outdated)]:
        core.turn.begin()
        containers.stop(core, old, graceful=True, why=_REPLACED)
    lasting = [one for one in lasting if not one.first.outdated]
    function.rolling = False
    wanted = _wanted(core, function, now)
    if wanted > len(lasting):
        return _startable(function, wanted - len(lasting), _counted(function)) if now >= function.not_before else 0
    idle = [scale.Idle(one.first.id, one.first.idle_since) for one in lasting if one.idle]
    window = function.autoscaler["scaledown_window"]
    for identity in scale.surplus(idle, existing=len(lasting), wanted=wanted, window=window, now=now):
        core.turn.begin()
        containers.stop(core, function.containers[identity], graceful=True, why="idle")
    return 0


def _lasts(function: machines.Function, more: bool, now: float) -> bool:
    """Whether ``more`` containers, if they are needed, have been for as long as the function wants to be sure."""
    if not more:
        function.rising_at = 0.0
    elif not function.rising_at:
        function.rising_at = now
    return not more or now - function.rising_at >= function.autoscaler.get("scaleup_window", 0.0)


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


def _startable(function: machines.Function, missing: int, counted: list[machines.Container]) -> int:
    """In an ephemeral app the failures of the first few are all that is tried."""
    failures = function.failures if function.app.state == moves.AppState.DEPLOYED else 0
    return scale.probing(missing, failures=failures, starting=sum(c.starting for c in counted))


def _counted(function: machines.Function) -> list[machines.Container]:
    return [c for c in function.containers.values() if c.state <= moves.ContainerState.READY]


def _wanted(core: Core, function: machines.Function, now: float) -> int:
    if function.broken and not function.queued and not now - function.knocked_at < _KNOCK:
        return math.ceil(function.running / capacity.of(function.spec, function.seconds, function.autoscaler).planned)
    return scale.needed(_sample(core, function, now))


def _sample(core: Core, function: machines.Function, now: float) -> scale.Sample:
    busy = [c for c in function.containers.values() if c.held]
    allowed = capacity.of(function.spec, function.seconds, function.autoscaler)
    elapsed = sum(
        (now - next(iter(c.held.values())).leased_at) / (1 if allowed.shared else len(c.held)) for c in busy
    ) / max(1, len(busy))
    if function.running or function.queued:
        function.last_active = now
    queued = function.queued
    if allowed.shared and function.ready:
        first = function.ready[0]
        if first.crashes and capacity.alone(first.crashes, allowed, core.settings.crash_budget):
            queued += allowed.planned  # it waits for an empty container, and everybody waits behind it
    sample = scale.Sample(
        queued=queued,
        busy=function.running,
        seconds=None if "target_concurrency" in function.autoscaler else function.seconds,
        elapsed=elapsed,
        active=_active(function, now),
        minimum=_minimum(function, now),
        maximum=function.autoscaler["max_containers"],
        buffer=function.autoscaler["buffer_containers"],
        unit=capacity.average(allowed, [c.slots for c in function.containers.values()]),
        startup=function.startup,
        single=function.spec["single_use"],
    )
    return scale.in_clusters(sample, function.spec["cluster"]["size"]) if "cluster" in function.spec else sample


def _start(core: Core, wishes: list[place.Wish], now: float) -> None:
    for node in gpu_actions.lend(core):  # room was made for them, and functions would take it first each time
        containers.want_later(core, node)
    nodes = nodes_now(core, now)
    pools = _pools(core, now)
    room = share.Room(sum(n.memory for n in nodes), sum(n.max_containers for n in nodes))
    placement = place.assign(nodes, wishes, share.of_apps(pools, room))
    for grant in placement.grants:
        core.turn.begin()
        function, worker = core.world.functions[grant.function_id], core.world.workers[grant.node]
        if "cluster" in function.spec:
            clusters.start(core, function, worker, grant.gpus)
        else:
            containers.start(core, function, worker, gpus=grant.gpus)
    if placement.short and nodes:
        _make_room(core, placement.short, now)


def _make_room(core: Core, short: list[place.Wish], now: float) -> None:
    """Nothing is free: templates go that nobody uses, others' idle containers before their time, and who has most gives
    what finishes."""
    for worker in core.world.workers.values():
        if spare := _spare(core, worker):
            containers.send_templates(core, worker.node, but={function.id for function in spare})
            core.scheduler.set()
    leaving = sum(c.state > moves.ContainerState.READY for c in core.world.containers.values())
    devices = [wish for wish in short if wish.gpus and _lacks_gpus(core, wish)]
    _make_gpus_free(core, devices)
    short = [wish for wish in short if wish not in devices]
    taken = reclaim.take(nodes_now(core, now), _pools(core, now), _idle(core), short, leaving=leaving, now=now)
    for identity in taken.stop:
        containers.stop(core, core.world.containers[identity], graceful=True, why="room for others")
    for function_id, count in taken.owes.items():
        function = core.world.functions[function_id]
        function.owes = count
        core.turn.begin()
        core.turn.dispatch[function] = None
    if not leaving and not taken.stop:
        for wish in short:
            _give_way(core, core.world.functions[wish.function_id])


def _lacks_gpus(core: Core, wish: place.Wish) -> bool:
    """Whether it is GPUs that it waits for, and not memory."""
    free = (gpu_actions.free(core, worker) for worker in core.world.workers.values())
    return all(gpus.choose(here, wish.gpus) is None for here in free)


def _make_gpus_free(core: Core, short: list[place.Wish]) -> None:
    """One container at a time: what it leaves is looked at again before the next one."""
    if any(c.gpus and c.state > moves.ContainerState.READY for c in core.world.containers.values()):
        return
    workers = core.world.workers
    free = {node: gpu_actions.free(core, worker) for node, worker in workers.items()}
    there = {node: gpu_actions.of(worker) for node, worker in workers.items()}
    spare = {one.container_id for one in _idle(core)}
    held = [
        gpus.Held(c.id, c.node, c.function.id, c.gpus, c.idle_since if c.id in spare else None)
        for c in core.world.containers.values()
        if c.gpus and c.state <= moves.ContainerState.READY and c.sandbox is None  # those keep what they have
    ]  # fmt: skip
    for wish in sorted(short, key=lambda wish: wish.has):
        found = gpus.freed(wish.gpus, wish.function_id, wish.has, free, there, held)
        for identity in found.stop:
            core.turn.begin()
            containers.stop(core, core.world.containers[identity], graceful=True, why="its GPUs are for others")
        for function_id in found.owes:
            core.world.functions[function_id].owes = 1
            core.turn.begin()
            core.turn.dispatch[core.world.functions[function_id]] = None
        if found.stop or found.owes:
            return
        if wish.function_id:  # and neither a build nor a sandbox
            _give_way(core, core.world.functions[wish.function_id])


def _give_way(core: Core, function: machines.Function) -> None:
    """Where the machine is full of a function's old version, one container of it finishes what it has and goes."""
    old = [c for c in function.containers.values() if containers.serves_old(c)]
    if old and len(old) == len(function.containers):
        core.turn.begin()
        containers.stop(core, min(old, key=lambda c: c.created_at), graceful=True, why=_REPLACED)


def _pools(core: Core, now: float) -> list[share.Pool]:
    pools = [f for f in core.world.functions.values() if f.containers and f.tag != sandboxes.POOL]
    return [_pool(function, now) for function in pools]


def _pool(function: machines.Function, now: float) -> share.Pool:
    counted, size = _counted(function), cluster_decisions.size(function.spec)
    age = now - max((c.created_at for c in counted), default=now)
    minimum = math.ceil(_minimum(function, now) / size)
    keeps = reclaim.keeps(minimum, working=bool(function.queued or function.running), age=age)
    memory = containers.memory_of(function) * size
    return share.Pool(function.id, function.app.id, memory, len(counted) // size, keeps)


def _idle(core: Core) -> list[reclaim.Idle]:
    """Containers that their functions could do without now."""
    found = []
    for function in core.world.functions.values():
        if function.queued or not function.containers or function.tag == sandboxes.POOL:
            continue
        if "cluster" in function.spec:
            found += _idle_clusters(core, function)
            continue
        counted = _counted(function)
        idle = sorted(
            (c for c in counted if c.state == moves.ContainerState.READY and not c.held), key=lambda c: c.idle_since
        )
        busy = math.ceil(function.running / capacity.of(function.spec, function.seconds, function.autoscaler).planned)
        extra = max(0, len(counted) - max(_minimum(function, core.clock.now()), busy))
        memory = containers.memory_of(function)
        for number, container in enumerate(idle[:extra], 1):
            last = number == len(counted)
            found.append(
                reclaim.Idle(container.id, container.node, function.id, memory, container.idle_since, last)
            )
    return found


def _idle_clusters(core: Core, function: machines.Function) -> list[reclaim.Idle]:
    """The same in clusters: where the first container goes, the others follow."""
    size = cluster_decisions.size(function.spec)
    memory = containers.memory_of(function) * size
    idle = sorted((one.first for one in function.clusters.values() if one.idle), key=lambda first: first.idle_since)
    busy = max(math.ceil(_minimum(function, core.clock.now()) / size), function.running)
    extra = max(0, len(function.clusters) - busy)
    return [
        reclaim.Idle(one.id, one.node, function.id, memory, one.idle_since, number == len(function.clusters))
        for number, one in enumerate(idle[:extra], 1)
    ]


def nodes_now(core: Core, now: float) -> list[place.Node]:
    """One pass over the containers, whatever the number of nodes."""
    here: dict[str, list[int]] = {node: [0, 0, 0] for node in core.world.workers}
    for container in core.world.containers.values():
        if (counts := here.get(container.node)) is not None:
            counts[0] += containers.memory_of(container)
            counts[1] += container.sandbox is None  # they have a limit of their own
            counts[2] += container.starting and now - container.created_at < _STARTING
    for name, counts in here.items():
        counts[0] += _templates(core, core.world.workers[name])
    return [_node(core, core.world.workers[name], *counts) for name, counts in here.items()]


def _templates(core: Core, worker: machines.Worker) -> int:
    """MiB of the templates that count."""
    return sum(containers.memory_of(function) for function in _spare(core, worker))


def _spare(core: Core, worker: machines.Worker) -> list[machines.Function]:
    """Functions that have a template there and no container. Of others it does not count: its forks share its memory,
    and that is promised to them already."""
    known = (core.world.functions.get(name) for name in worker.templates)
    return [function for function in known if function is not None and not function.containers and not function.queued]


def _node(core: Core, worker: machines.Worker, promised: int, count: int, starting: int) -> place.Node:
    return place.Node(
        name=worker.node,
        memory=worker.memory // _MIB,
        promised=promised,
        containers=count,
        starting=starting,
        max_containers=core.settings.max_containers,
        max_starting=max(2, math.ceil(worker.cpus * core.settings.starting_per_cpu)),
        gpus=tuple(gpu_actions.free(core, worker)),
    )


def _stop(core: Core, function: machines.Function, counted: list[machines.Container], wanted: int, now: float) -> None:
    idle = [scale.Idle(c.id, c.idle_since) for c in counted if c.state == moves.ContainerState.READY and not c.held]
    window = function.autoscaler["scaledown_window"]
    for identity in scale.surplus(idle, existing=len(counted), wanted=wanted, window=window, now=now):
        core.turn.begin()
        containers.stop(core, function.containers[identity], graceful=True, why="idle")
