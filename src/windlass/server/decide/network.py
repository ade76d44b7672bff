"""What containers may reach and who may reach them: refused where it means nothing. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from windlass import exception
from windlass.wire import reach
from windlass.wire.messages import network

MOST_SOURCES = 5
_DOCTOR = "`windlass doctor` says what this machine can give."
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
    if spec["block_network"] and (spec.get("proxy") or spec.get("i6pn")):
        raise exception.InvalidError("block_network leaves no network for a proxy, and none between containers")


def check_sources(wanted: Sequence[str], there: Collection[str], why: str) -> None:
    """Addresses of a proxy. ``there``: those of the machine; ``why`` there are none.

    Raises:
        UnimplementedError: this machine cannot let containers leave by an address of choice.
        InvalidError: there are none, too many, or one that the machine does not have.
    """
    if not 1 <= len(wanted) <= MOST_SOURCES or len(set(wanted)) < len(wanted):
        raise exception.InvalidError(f"a proxy has 1 to {MOST_SOURCES} addresses, each once")
    if not there:
        raise exception.UnimplementedError(f"no proxies here: {why}")
    for one in wanted:
        if one not in there:
            raise exception.InvalidError(
                f"this machine does not have the address {one[:80]!r}", hint=f"It has {', '.join(sorted(there))}."
            )


def check_here(spec: Mapping[str, Any], uplinks: Collection[str]) -> None:
    """Raises ``UnimplementedError`` for what none of the machines can give. ``uplinks``: how they are connected."""
    if not uplinks or "" in uplinks:
        return  # nothing is known yet; the worker refuses what it cannot do
    if spec.get("i6pn") and not {"veth", "slirp"} & set(uplinks):
        raise exception.UnimplementedError("i6pn: containers have no network here", hint=_DOCTOR)
    if spec.get("proxy") and "veth" not in uplinks:
        raise exception.UnimplementedError(
            "proxy: this platform runs as an ordinary user, and can let containers leave by one address only",
            hint=_DOCTOR,
        )


def private_address(workspace: str, container_id: str) -> str:
    """A container's own in the private network of the workspace.

    Args:
        workspace: at least eight hexadecimal digits that no other workspace has.
        container_id: whose it shall be; 80 bits of its digest are enough that no two are the same.
    """
    digits = workspace[:8] + hashlib.sha256(container_id.encode()).hexdigest()[:20]
    return str(ipaddress.IPv6Address(int(f"fdaa{digits}", 16)))


def plan(spec: Mapping[str, Any], source: str = "") -> network.NetworkPlan:
    """What the worker is told of a container's network; empty where there is nothing to say. ``source``: the address
    that it leaves by."""
    made: network.NetworkPlan = {}
    if "outbound_cidrs" in spec:
        made["cidrs"] = spec["outbound_cidrs"]
    if "outbound_domains" in spec:
        made["domains"] = spec["outbound_domains"]
    if source:
        made["source"] = source
    return made


def _check_one(key: str, one: str, read: Callable[[str], str]) -> None:
    try:
        stored = read(one)
    except ValueError as exc:
        raise exception.InvalidError(f"{key}: {exc}") from None
    if stored != one:
        raise exception.InvalidError(f"{key}: {one!r} must be written as {stored!r}")
