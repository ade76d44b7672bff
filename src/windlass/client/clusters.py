"""What ``@clustered`` asks for, checked while the user's file is imported."""
from __future__ import annotations

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from windlass import options
    from windlass.wire.messages import functions

MOST = 256


def spec(size: Any, rdma: Any) -> functions.ClusterSpec:
    """Raises ``InvalidError``."""
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST:
        raise exception.InvalidError(f"size must be an integer from 1 to {MOST}, not {size!r}")
    if not isinstance(rdma, bool):
        raise exception.InvalidError(f"rdma must be True or False, not {rdma!r}")
    return {"size": size, "rdma": rdma}


def settle(name: str, marks: Mapping[str, Any], chosen: options.Options, methods: Collection[str] = ()) -> None:
    """Refuse what is marked and cannot be clustered; give the others the network by which they reach each other.

    Raises:
        InvalidError: it takes several inputs at once, answers requests, has more than one method or no network.
    """
    for other in ("concurrency", "batching", "web"):
        if other in marks:
            raise exception.InvalidError(f"{name!r} is clustered: it takes one call at a time, and no web requests")
    if len(methods) > 1:
        raise exception.InvalidError(
            f"{name!r} is clustered, so it has at most one method, not {len(methods)}",
            hint="Move the others into a class of their own.",
        )
    if chosen.block_network:
        raise exception.InvalidError("block_network=True leaves no network between the containers of a cluster")
    size, most = marks["cluster"]["size"], chosen.autoscaler["max_containers"]
    if 0 < most < size:
        raise exception.InvalidError(f"max_containers={most} leaves no room for a cluster of {size} containers")
    chosen.i6pn = True
