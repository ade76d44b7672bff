"""Memory rebuilt from rows: at the start of the server, and after a turn that could not be committed."""

from __future__ import annotations

from windlass.server.apply import build_logs, cancel, firings, sandboxes, variants
from windlass.server.apply import calls as call_actions
from windlass.server.apply import containers as container_actions
from windlass.server.apply import core as core_module
from windlass.server.apply import deployments as deployment_actions
from windlass.server.decide import clusters as cluster_decisions
from windlass.server.decide import variants as variant_decisions
from windlass.server.state import clusters, machines, moves, work
from windlass.server.store import apps, calls, collections, containers, deployments, inputs

Core = core_module.Core


def load(core: Core) -> None:
    """Fill the empty world. Connections come by themselves: runners and workers say what they have."""
    now = core.clock.now()
    core.count_again()
    build_logs.interrupted(core)
    _apps(core, now)
    firings.load(core)
    by_n = _containers(core, now)
    sandboxes.load(core, by_n)
    _held(core, by_n, now)
    for n, count in inputs.counts_ready(core.db):
        if (function := core.world.functions_by_n.get(n)) is not None:
            function.spilled, function.last_active = count, now
    for n, spawned, count in inputs.counts_open(core.db):
        if (function := core.world.functions_by_n.get(n)) is not None:
            if spawned:
                function.open_spawned = count
            else:
                function.open_sync = count
    for n in calls.cancelled_unfinished(core.db):
        if (call := call_actions.by_n(core, n)) is not None:
            core.world.cancelling[n] = call
            call.cancelled_at = now
    for function in core.world.functions.values():
        if not function.app.alive:
            cancel.cancel_function(core, function, "the app was stopped")
        elif function.removed and (function.queued or function.delayed):
            deployment_actions.end_waiting(core, function)
    for client in (*calls.open_clients(core.db), *collections.clients(core.db)):
        core.world.gone.setdefault(client, now)


def _apps(core: Core, now: float) -> None:
    world = core.world
    for app in apps.live(core.db):
        app.heard_at = now
        world.apps[app.id] = app
    for row in apps.functions_of_live(core.db):
        _function(core, row)


def _function(core: Core, row: apps.LiveFunction) -> None:
    base = None if row.variant_of is None else core.world.functions_by_n[row.variant_of]
    # A variant's own row has the same description; made anew, the many parts that it shares with its base are shared.
    spec = row.spec if base is None else variant_decisions.spec(base.spec, row.overrides)
    function = machines.Function(
        n=row.n,
        identity=row.id,
        app=core.world.apps[row.app_id],
        spec=spec,
        autoscaler=row.autoscaler or variant_decisions.bounds(spec, is_variant=base is not None),
    )
    function.generation, function.removed, function.pin = row.generation, row.removed, row.pin
    function.variant_of, function.variant_key = base, row.variant_key or ""
    function.parameters, function.overrides = row.parameters, row.overrides
    variants.remember(core, function)


def _containers(core: Core, now: float) -> dict[int, machines.Container]:
    by_n = {}
    for row in containers.alive(core.db):
        function = core.world.functions_by_n.get(row.function)
        if function is None:
            continue
        container = machines.Container(
            n=row.n, identity=row.id, function=function, node=row.node, created_at=row.created_at
        )
        if row.generation != function.generation:
            container.generation, function.rolling = row.generation, True
            container.spec = deployments.spec(core.db, function.n, row.generation) or function.spec
        container.state, container.want = moves.ContainerState(row.state), row.want
        container.started_at, container.log_offset = row.started_at, row.log_offset
        container.made_at, container.phases, container.gpus = row.made_at, row.phases, row.gpus
        if row.cluster is not None:
            _join(container, row.cluster, row.rank)
        container.idle_since = container.seen_at = now
        if not container.starting:
            container.lost_at = now
        if container.state > moves.ContainerState.READY:
            container.kill_at = now + container_actions.grace(core, container)
        core.world.containers[row.id] = function.containers[row.id] = by_n[row.n] = container
    return by_n


def _join(container: machines.Container, cluster: str, rank: int) -> None:
    """Put a container into its cluster."""
    known = container.function.clusters
    if cluster not in known:
        known[cluster] = clusters.Cluster(cluster, cluster_decisions.size(container.spec))
    container.cluster, container.rank = known[cluster], rank
    known[cluster].members[rank] = container


def _held(core: Core, by_n: dict[int, machines.Container], now: float) -> None:
    """Leases stay with their containers; those whose container is unknown are given back."""
    orphans = []
    for row in inputs.held(core.db):
        call = call_actions.by_n(core, row.key >> work.INDEX_BITS)
        if call is None:
            continue
        item = work.Input(call, row.key & work.INDEX_MASK, row.data)
        item.state, item.attempt, item.retries, item.crashes = row.state, row.attempt, row.retries, row.crashes
        item.not_before, item.leased_at, item.queued_at = row.not_before, now, now
        call.in_memory += 1
        function = call.function
        container = by_n.get(row.container) if row.container is not None else None
        if row.state == moves.InputState.DELAYED:
            function.delayed[item.key] = item
        elif container is not None:
            item.container = container
            for holder in (container,) if container.cluster is None else container.cluster.members.values():
                holder.held[item.id] = item
            function.running += 1
        else:
            orphans.append(item)
    if orphans:
        core.turn.begin()
        for item in orphans:
            item.state = moves.InputState.READY
            core.turn.change(item)
            item.call.in_memory -= 1
        core.turn.flush()
