"""By which address of the machine a container leaves, where that is to be a certain one (``windlass.Proxy``).

    container ── node: its address becomes one of the uplink's ── machine: which becomes the address that it stands for

Only the machine's rules can change what is seen outside, and the worker, which is not root there, cannot touch them. So
``renew``, which runs as root of the machine when the node is made and when a proxy is, gives the uplink an address for
each address of the machine. The worker then only chooses among them. With slirp4netns there is nothing to choose: all
that leaves the node is sent by one program of an ordinary user.
"""
from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from windlass import exception, paths
from windlass.worker import uplink

WHY = {
    "slirp": "containers of an ordinary user leave through slirp4netns, which has one address for all; "
    "a platform that runs as root can give them others",
    "none": "containers have no network on this machine",
    "veth": "this machine has no address but loopback",
}
"""Why there is no address to choose, by kind of uplink."""


def pairs(
    network: ipaddress.IPv4Network, addresses: Iterable[str], known: Mapping[str, str]
) -> dict[str, str]:
    """Which address of the uplink stands for which of the machine's. Pure.

    Args:
        network: of the uplink; its first two addresses are taken.
        addresses: the machine's.
        known: what was so before, and stays so: who leaves by one must not find another one behind it.
    """
    free = [str(one) for one in list(network.hosts())[2:] if str(one) not in known.values()]
    fresh = [address for address in addresses if address not in known]
    return {**known, **dict(zip(fresh, free, strict=False))}


class Sources(TypedDict):
    """``pairs``: the uplink's address for each that the machine has, or had since the node was made. ``there``: those
    of the machine that it has now."""

    pairs: dict[str, str]
    there: list[str]


def load(home: Path) -> Sources:
    """What stands for what. Inside and outside of the node."""
    try:
        found: Sources = json.loads(_file(home).read_text())
    except (FileNotFoundError, ValueError):
        return {"pairs": {}, "there": []}
    return found


def renew(home: Path, tag: str, link: uplink.Uplink, enter: Sequence[str]) -> None:
    """Bring the rules in line with the addresses that the machine has now. As root of the machine.

    Args:
        tag: of the home, as rules carry it.
        link: how the node is connected.
        enter: begins a command line that runs in the node's network.
    """
    if link.kind != "veth" or not link.network:
        return
    there = [one for one in uplink.host_addresses() if not uplink.is_own(one)]
    found = pairs(ipaddress.IPv4Network(link.network), there, load(home)["pairs"])
    there = [one for one in there if one in found]
    elements = ", ".join(f"{found[one]} : {one}" for one in there)
    lines = [f"flush map ip windlass_{tag} sources"]
    if elements:
        lines.append(f"add element ip windlass_{tag} sources {{ {elements} }}")
    addresses = [f"addr replace {inner}/32 dev {uplink.NAME}" for inner in found.values()]
    uplink.run([*enter, "ip", "-batch", "-"], "\n".join(addresses))
    uplink.run(["nft", "-f", "-"], "\n".join(lines))
    draft = _file(home).with_suffix(".new")
    draft.write_text(json.dumps({"pairs": found, "there": there}))
    draft.rename(_file(home))


def forget(home: Path) -> None:
    """The node is gone, and its uplink with it."""
    _file(home).unlink(missing_ok=True)


def inner(home: Path, address: str, is_there: Callable[[str], bool]) -> str:
    """What stands for an address of the machine. Raises ``ExecutionError`` where it cannot be left by.

    ``is_there`` tells of the machine's network now; the rules are as they were renewed last.
    """
    found = load(home)
    if address not in found["there"] or not is_there(address):
        raise exception.ExecutionError(
            f"containers cannot leave by {address}, which this machine does not have (any more)",
            hint="`windlass proxy list` shows what proxies there are; make one with an address of this machine.",
        )
    return found["pairs"][address]


def _file(home: Path) -> Path:
    return paths.run(home) / "sources.json"
