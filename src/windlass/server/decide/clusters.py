"""Clusters: what is refused, and how the needs of all containers of one are counted as those of one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from windlass import exception
from windlass.server.decide import gpus
from windlass.wire.messages import functions

MOST = 256
"""Containers of one cluster."""


def size(spec: functions.FunctionSpec) -> int:
    """Containers that are started together."""
    cluster = spec.get("cluster")
    return cluster["size"] if cluster else 1


def check(spec: functions.FunctionSpec, slots: int) -> None:
    """``slots``: containers that one machine may have.

    Raises:
        InvalidError: no decorator would have let it through, or there is never room for all of one.
        UnimplementedError: it wants RDMA.
    """
    cluster = spec.get("cluster")
    if cluster is None:
        return
    if not 1 <= cluster["size"] <= MOST:
        raise exception.InvalidError(f"a cluster has 1 to {MOST} containers, not {cluster['size']}")
    if cluster["size"] > slots:
        raise exception.InvalidError(
            f"a cluster of {cluster['size']} containers has no room here: this platform runs at most {slots:,}"
        )
    if cluster["rdma"]:
        raise exception.UnimplementedError(
            "rdma=True: this machine has no RDMA devices for containers",
            hint="Leave it out: the containers of a cluster reach each other by their private addresses.",
        )
    if not spec.get("i6pn"):
        raise exception.InvalidError("containers of a cluster need addresses by which they reach each other (i6pn)")
    methods = spec.get("methods", {})
    if len(methods) > 1:
        raise exception.InvalidError("a clustered class has at most one method")
    if spec.get("concurrency") or spec.get("batching") or spec.get("web") or any("web" in m for m in methods.values()):
        raise exception.InvalidError("a clustered function takes one call at a time, and no web requests")
    if 0 < spec["autoscaler"]["max_containers"] < cluster["size"]:
        raise exception.InvalidError(
            f"max_containers={spec['autoscaler']['max_containers']} leaves no room for a cluster of {cluster['size']}"
        )


def together(wanted: gpus.Wanted, containers: int) -> list[functions.GpuSpec]:
    """The GPUs of all containers, each alternative of one kind."""
    return [{"kind": one["kind"], "count": one["count"] * containers} for one in wanted]


def dealt(devices: Sequence[str], containers: int) -> list[tuple[str, ...]]:
    """Devices of the whole, by rank."""
    each = len(devices) // containers
    return [tuple(devices[rank * each : (rank + 1) * each]) for rank in range(containers)]
