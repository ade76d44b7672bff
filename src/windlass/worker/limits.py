"""What one container may reach, where it has lists of its own: its chains, as statements for ``nft``. Pure.

    packet ── port 443, with a list of domains ──► the relay, which reads the name (``domains.py``)
       └── address on the list and not closed ──► out;  all else refused, and told

Lists narrow what all containers may reach and never widen it: private networks stay closed. Only IPv4 is routed, so
IPv6 networks may be listed and lead nowhere.

Names can be resolved as long as a list has any entry, by the platform's name servers and no others. That is the one
hole: a program inside can ask them for names that it made up, and so tell whoever serves that domain some bytes with
each question, and be answered. Who must not have that lists nothing at all.
"""
from __future__ import annotations

from windlass.wire import reach
from windlass.wire.messages import network
from windlass.worker import egress, uplink

LOG_GROUP = 5747
"""Of the kernel's packet log: refusals, for ``denials.py``."""
_TABLE = "inet windlass"
_TOLD = "limit rate 20/minute burst 10 packets log group {group} prefix {link}"


def opened(slot: int, plan: network.NetworkPlan) -> str:
    """Put the lists of the container behind ``wc<slot>`` in force. Doing it again changes nothing."""
    if not _listed(plan):
        return ""
    link, cidrs = f'"wc{slot}"', reach.networks(plan.get("cidrs", []), 4)
    lines = [*_chain(f"limit{slot}", _forward(link, plan, cidrs)), _element("add", "limited", link, f"limit{slot}")]
    if plan.get("domains"):
        to = f"tcp dport 443 dnat ip to {egress.GATEWAY}:{egress.RELAY_PORT}"
        lines += _chain(f"name{slot}", [*_allowed(cidrs, "return"), to])
        lines.append(_element("add", "named", link, f"name{slot}"))
    return "\n".join(lines)


def closed(slot: int, plan: network.NetworkPlan) -> str:
    """Take them away again."""
    if not _listed(plan):
        return ""
    link = f'"wc{slot}"'
    lines = [_element("delete", "limited", link), *_gone(f"limit{slot}")]
    if plan.get("domains"):
        lines += [_element("delete", "named", link), *_gone(f"name{slot}")]
    return "\n".join(lines)


def _listed(plan: network.NetworkPlan) -> bool:
    return "cidrs" in plan or "domains" in plan


def _forward(link: str, plan: network.NetworkPlan, cidrs: list[str]) -> list[str]:
    names = ["jump resolvers"] if plan.get("cidrs") or plan.get("domains") else []
    told = _TOLD.format(group=LOG_GROUP, link=link)
    return [*names, *_allowed(cidrs, f'oifname "{uplink.NAME}" accept'), told, "goto refuse"]


def _allowed(cidrs: list[str], verdict: str) -> list[str]:
    return [f"ip daddr != @closed ip daddr {{ {', '.join(cidrs)} }} {verdict}"] if cidrs else []


def _chain(name: str, rules: list[str]) -> list[str]:
    return [
        f"add chain {_TABLE} {name}", f"flush chain {_TABLE} {name}",
        *(f"add rule {_TABLE} {name} {rule}" for rule in rules),
    ]  # fmt: skip


def _gone(name: str) -> list[str]:
    return [f"flush chain {_TABLE} {name}", f"delete chain {_TABLE} {name}"]


def _element(action: str, name: str, link: str, chain: str = "") -> str:
    return f"{action} element {_TABLE} {name} {{ {link}{f' : goto {chain}' if chain else ''} }}"
