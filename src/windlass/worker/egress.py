"""What containers may reach: the public internet and the name servers, nothing of the host's surroundings.

The rules stand in the node's own network namespace, where only the worker can touch them. Containers see neither each
other, nor the host, nor private networks, nor a cloud's metadata service. Only IPv4 is routed; IPv6 goes nowhere.
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from windlass.worker import uplink

CONTAINERS = "198.19.0.0/16"
GATEWAY = "198.19.0.1"
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
    chain refuse {{
        meta l4proto tcp reject with tcp reset
        reject with icmpx admin-prohibited
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        {resolvers}
        iifname "wc*" oifname "{uplink}" meta nfproto ipv4 ip daddr != @closed accept
        iifname "wc*" jump refuse
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "wc*" jump refuse
        iifname "{uplink}" ct state new drop
    }}
    chain output {{
        type filter hook output priority filter; policy accept;
        oifname "wc*" meta l4proto {{ tcp, udp }} ct state new drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {containers} oifname "{uplink}" masquerade
    }}
}}
"""


def rules(*, resolvers: Iterable[str], host_addresses: Iterable[str]) -> str:
    """The table as a script for ``nft -f``; it replaces an earlier one in one step."""
    names = ", ".join(resolvers)
    dns = f'iifname "wc*" oifname "{uplink.NAME}" ip daddr {{ {names} }} meta l4proto {{ tcp, udp }} th dport 53 accept'
    return _TABLE.format(
        closed=", ".join([*_CLOSED, *host_addresses]),
        resolvers=dns if names else "",
        uplink=uplink.NAME,
        containers=CONTAINERS,
    )


def establish(*, resolvers: Iterable[str], host_addresses: Iterable[str]) -> None:
    """Put the rules in force, or other ones than before. Inside the node. Raises ``ExecutionError``."""
    uplink.run(["nft", "-f", "-"], rules(resolvers=resolvers, host_addresses=host_addresses))


def forwarding() -> None:
    """Let this network namespace pass packets on, and keep IPv6 off the links to come."""
    for name, value in (("ipv4/ip_forward", "1"), ("ipv6/conf/default/disable_ipv6", "1")):
        file = Path("/proc/sys/net") / name
        if file.exists():
            file.write_text(value)
