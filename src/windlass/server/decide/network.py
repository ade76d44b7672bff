"""What containers may reach and who may reach them: refused where it means nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from windlass import exception
from windlass.wire import reach
from windlass.wire.messages import network

_LISTS: dict[str, Callable[[str], str]] = {
    "inbound_cidrs": reach.cidr, "outbound_cidrs": reach.cidr, "outbound_domains": reach.domain,
}  # fmt: skip


def check(spec: Mapping[str, Any]) -> None:
    """Raises ``InvalidError`` for what no client of ours would send."""
    for key, read in _LISTS.items():
        listed = spec.get(key, [])
        if len(listed) > reach.MOST:
            raise exception.InvalidError(f"{key} has more than {reach.MOST:,} entries")
        if key in spec and spec["block_network"]:
            raise exception.InvalidError(f"block_network leaves no network for {key}")
        for one in listed:
            _check_one(key, one, read)


def plan(spec: Mapping[str, Any]) -> network.NetworkPlan:
    """What the worker is told of a container's network; empty where there is nothing to say."""
    made: network.NetworkPlan = {}
    if "outbound_cidrs" in spec:
        made["cidrs"] = spec["outbound_cidrs"]
    if "outbound_domains" in spec:
        made["domains"] = spec["outbound_domains"]
    return made


def _check_one(key: str, one: str, read: Callable[[str], str]) -> None:
    try:
        stored = read(one)
    except ValueError as exc:
        raise exception.InvalidError(f"{key}: {exc}") from None
    if stored != one:
        raise exception.InvalidError(f"{key}: {one!r} must be written as {stored!r}")
