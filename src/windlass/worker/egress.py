"""What containers may reach: the public internet and the name servers, nothing of the host's surroundings.

The rules stand in the node's own network namespace, where only the worker can touch them. Containers see neither each
other, nor the host, nor private networks, nor a cloud's metadata service. Only IPv4 leads outside; IPv6 leads from
containers that asked for it to others of their app (``i6pn``), and nowhere else.

A container with lists of its own (``limits.py``) has a chain of its own, which its packets go to before all others'.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from windlass.worker import uplink

CONTAINERS = "198.19.0.0/16"
GATEWAY = "198.19.0.1"
PRIVATE, PRIVATE_GATEWAY = "fdaa::/16", "fe80::1"
RELAY_PORT = 1443
"""Where connections go that a list of domains decides on (``domains.py``)."""
_CLOSED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
)

_TABLE = """
table inet windlass
delete table inet windlass
table inet windlass {{
    set closed {{
        type ipv4_addr; flags interval; auto-merge
        elements = {{ {closed} }}
    }}
    map sources {{
        type ipv4_addr : ipv4_addr
    }}
    map groups {{
        type ifname : mark
    }}
    set members {{
        type ifname . mark
    }}
    set private_addresses {{
        type ifname . ipv6_addr
    }}
    map limited {{
        type ifname : verdict
    }}
    map named {{
        type ifname : verdict
    }}
    chain refuse {{
        meta l4proto tcp reject with tcp reset
        reject with icmpx admin-prohibited
    }}
    chain resolvers {{
        {resolvers}
    }}
    chain private {{
        iifname . ip6 saddr != @private_addresses goto refuse
        meta mark set iifname map @groups
        oifname . meta mark @members accept
        goto refuse
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        meta nfproto ipv6 goto private
        iifname vmap @limited
        jump resolvers
        iifname "wc*" oifname "{uplink}" meta nfproto ipv4 ip daddr != @closed accept
        iifname "wc*" jump refuse
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "wc*" ip daddr {gateway} tcp dport {relay} ct status dnat accept
        iifname "wc*" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        iifname "wc*" jump refuse
        iifname "{uplink}" ct state new drop
    }}
    chain output {{
        type filter hook output priority filter; policy accept;
        oifname "wc*" meta l4proto {{ tcp, udp }} ct state new drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname vmap @named
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{uplink}" snat ip to ip saddr map @sources
        ip saddr {containers} oifname "{uplink}" masquerade
    }}
}}
"""


def rules(*, resolvers: Iterable[str], host_addresses: Iterable[str], own: Iterable[str] = ()) -> str:
    """The table as a script for ``nft -f``; it replaces an earlier one in one step.

    Args:
        resolvers: the name servers that containers may ask.
        host_addresses: what is closed beyond private networks.
        own: what containers with lists have (``limits.opened``).
    """
    names = ", ".join(resolvers)
    dns = f'iifname "wc*" oifname "{uplink.NAME}" ip daddr {{ {names} }} meta l4proto {{ tcp, udp }} th dport 53 accept'
    table = _TABLE.format(
        closed=", ".join([*_CLOSED, *host_addresses]),
        resolvers=dns if names else "",
        uplink=uplink.NAME,
        containers=CONTAINERS,
        gateway=GATEWAY,
        relay=RELAY_PORT,
    )
    return "\n".join([table, *own])


def establish(*, resolvers: Iterable[str], host_addresses: Iterable[str], own: Iterable[str] = ()) -> None:
    """Put the rules in force, or other ones than before. Inside the node. Raises ``ExecutionError``."""
    change(rules(resolvers=resolvers, host_addresses=host_addresses, own=own))


def change(script: str) -> None:
    """Change the rules in one step, or not at all. Raises ``ExecutionError``."""
    uplink.run(["nft", "-f", "-"], script)


def closed(address: str, host_addresses: Iterable[str]) -> bool:
    """Whether no container may reach an IPv4 address, as the rules say it; for what the worker reaches in its name."""
    found = ipaddress.IPv4Address(address)
    return address in host_addresses or any(found in ipaddress.IPv4Network(one) for one in _CLOSED)


def forwarding() -> None:
    """Let this network namespace pass packets on, and keep IPv6 off the links to come, which may ask for it."""
    for name, value in (
        ("ipv4/ip_forward", "1"), ("ipv6/conf/default/disable_ipv6", "1"), ("ipv6/conf/all/forwarding", "1"),
    ):  # fmt: skip
        file = Path("/proc/sys/net") / name
        if file.exists():
            file.write_text(value)
