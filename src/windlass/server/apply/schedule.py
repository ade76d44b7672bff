"""Scaling: for each function with something to do, compare what is needed with what is; start or stop containers."""

from __future__ import annotations

import math

from windlass.server.apply import containers, dispatch
from windlass.server.apply import core as core_module
from windlass.server.decide import place, scale
from windlass.server.state import machines, moves

Core = core_module.Core
_MIB = 1024 * 1024


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
                    scale_function(core, function, core.clock.now())


def scale_all(core: Core, now: float) -> None:
    """One look at every function."""
    for function in list(core.world.functions.values()):
        if function.queued or function.running or function.containers or _minimum(function) or function.delayed:
            scale_function(core, function, now)


def _minimum(function: machines.Function) -> int:
    app = function.app
    return function.autoscaler["min_containers"] if app.published and app.alive and not app.draining else 0


def scale_function(core: Core, function: machines.Function, now: float) -> None:
    app = function.app
    if not app.alive or not app.published:
        return
    counted = [c for c in function.containers.values() if c.state <= moves.ContainerState.READY]
    wanted = scale.needed(_sample(function, now))
    if function.broken and not function.queued:
        wanted = function.running
    if wanted > len(counted):
        if now >= function.not_before:
            _start(core, function, wanted - len(counted))
    else:
        _stop(core, function, counted, wanted, now)


def _sample(function: machines.Function, now: float) -> scale.Sample:
    window = function.autoscaler["scaledown_window"]
    busy = [c for c in function.containers.values() if c.held]
    elapsed = min(((now - next(iter(c.held.values())).leased_at) / len(c.held) for c in busy), default=0.0)
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
    )


def _start(core: Core, function: machines.Function, count: int) -> None:
    memory = containers.memory_of(function)
    for worker in core.world.workers.values():
        allowed = min(count, place.room(node_facts(core, worker), memory))
        if allowed > 0:
            core.turn.begin()
            for _ in range(allowed):
                containers.start(core, function, worker)
            count -= allowed


def node_facts(core: Core, worker: machines.Worker) -> place.Node:
    here = [c for c in core.world.containers.values() if c.node == worker.node]
    return place.Node(
        name=worker.node,
        memory=worker.memory // _MIB,
        promised=sum(containers.memory_of(c.function) for c in here),
        containers=len(here),
        starting=sum(c.starting for c in here),
        max_containers=core.settings.max_containers,
        max_starting=max(2, math.ceil(worker.cpus * core.settings.starting_per_cpu)),
    )


def _stop(core: Core, function: machines.Function, counted: list[machines.Container], wanted: int, now: float) -> None:
    idle = [scale.Idle(c.id, c.idle_since) for c in counted if c.state == moves.ContainerState.READY and not c.held]
    window = function.autoscaler["scaledown_window"]
    for identity in scale.surplus(idle, existing=len(counted), wanted=wanted, window=window, now=now):
        core.turn.begin()
        containers.stop(core, function.containers[identity], graceful=True, why="idle")
