"""The life of clusters: started in one decision, leased to when whole, ended when one container is (ADR 0026).

An attempt is one ``work.Input``, which all containers of the cluster hold: whatever ends it for one of them ends it for
all, and its number fences off what others still do.
"""

from __future__ import annotations

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import containers
from windlass.server.apply import core as core_module
from windlass.server.apply import dispatch as leasing
from windlass.server.decide import clusters as decisions
from windlass.server.decide import network
from windlass.server.state import clusters, machines, moves
from windlass.wire.messages import clusters as cluster_messages

Core = core_module.Core
_NOT_ALONE = "another container of its cluster has ended"


def start(core: Core, function: machines.Function, worker: machines.Worker, gpus: tuple[str, ...]) -> None:
    """Decide that all containers of one more cluster shall be; ``gpus`` are those of them all."""
    size = decisions.size(function.spec)
    made = clusters.Cluster(ids.new("cu"), size)
    function.clusters[made.id] = made
    for rank, devices in enumerate(decisions.dealt(gpus, size)):
        containers.start(core, function, worker, gpus=devices, cluster=made, rank=rank)


def dispatch(core: Core, function: machines.Function) -> None:
    """End what is not whole any more, then lease to what is."""
    tidy(core, function)
    for cluster in function.clusters.values():
        for member in cluster.members.values():
            function.free.pop(member.id, None)
    if "cluster" not in function.spec:  # these are of a version that was clustered
        leasing.dispatch(core, function)
        return
    function.free.clear()
    for cluster in function.clusters.values():
        if cluster.idle:
            _lease(core, function, cluster)
        if cluster.idle:
            function.free[cluster.first.id] = cluster.first


def _lease(core: Core, function: machines.Function, cluster: clusters.Cluster) -> None:
    if not function.ready and function.spilled:
        leasing.refill(core, function)
    if not function.ready:
        return
    first = cluster.first
    leasing.lease_to(core, first, function.ready[0])
    for item in first.held.values():
        for member in cluster.members.values():
            if member is not first:
                member.held[item.id] = item
                core.turn.leases.setdefault(member, []).append(item)


def tidy(core: Core, function: machines.Function) -> None:
    """Bring all containers of each cluster to where one of them is: finishing, ending, gone."""
    for cluster in list(function.clusters.values()):
        alive = [one for one in cluster.members.values() if one.alive]
        if not alive:
            del function.clusters[cluster.id]
        elif cluster.broken or len(alive) < cluster.size or _oldest(alive) == moves.ContainerState.STOPPING:
            for one in alive:
                containers.stop(core, one, graceful=False, why=_NOT_ALONE)
        elif _oldest(alive) == moves.ContainerState.DRAINING:
            _drain(core, alive)


def _oldest(alive: list[machines.Container]) -> moves.ContainerState:
    return max(one.state for one in alive)


def _drain(core: Core, alive: list[machines.Container]) -> None:
    why = next(one.draining_why for one in alive if one.state == moves.ContainerState.DRAINING)
    for one in alive:
        containers.stop(core, one, graceful=True, why=why)
        if not one.held and one.kill_at is None:
            one.kill_at = core.clock.now() + containers.grace(core, one)


def info(core: Core, cluster: clusters.Cluster) -> cluster_messages.ClusterInfo:
    """Who is in it, by rank."""
    members = [cluster.members[rank].id for rank in sorted(cluster.members)]
    workspace = core.keyring.token("the private network")
    addresses = [network.private_address(workspace, one) for one in members]
    return {"cluster_id": cluster.id, "containers": members, "addresses": addresses}


def existing(core: Core, identity: str) -> clusters.Cluster:
    """Raises ``NotFoundError``: it has ended, or there never was one."""
    for function in core.world.functions.values():
        if (found := function.clusters.get(identity)) is not None:
            return found
    raise exception.NotFoundError(f"there is no cluster {identity[:80]!r}", hint="It lasts as long as its containers.")
