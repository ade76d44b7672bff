"""What one container may reach and by which address it leaves, where its plan says so, as statements for ``nft``. Pure.

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
from windlass.worker import egress, netns, uplink

LOG_GROUP = 5747
"""Of the kernel's packet log: refusals, for ``denials.py``."""
_TABLE = "inet windlass"
_TOLD = "limit rate 20/minute burst 10 packets log group {group} prefix {link}"


class Plan(network.NetworkPlan, total=False):
    """As the worker has it: ``source`` is an address of the uplink here. ``mark``: the number of its group.
    ``endpoints``: pairs of an address and a port, also closed ones, which are all that a program of the worker's may
    reach from a network of its own; no container ever has them."""

    mark: int
    endpoints: list[str]


def opened(slot: int, plan: Plan) -> str:
    """Put the plan of the container behind ``wc<slot>`` in force. Doing it again changes nothing."""
    elements = [_element("add", *element) for element in _elements(slot, plan)]
    return "\n".join([*elements, *_limits(slot, plan)])


def _elements(slot: int, plan: Plan) -> list[tuple[str, str, str]]:
    """What the plan adds to maps and sets for all."""
    link, found = f'"wc{slot}"', []
    if "source" in plan:
        found.append(("sources", netns.address(slot), plan["source"]))
    if "address" in plan:
        mark = str(plan["mark"])
        found += [("private_addresses", f"{link} . {plan['address']}", ""), ("groups", link, mark)]
        found.append(("members", f"{link} . {mark}", ""))
    return found


def _limits(slot: int, plan: Plan) -> list[str]:
    if not _listed(plan):
        return []
    link, cidrs = f'"wc{slot}"', reach.networks(plan.get("cidrs", []), 4)
    lines = [
        *_chain(f"limit{slot}", _forward(link, plan, cidrs)), _element("add", "limited", link, f"goto limit{slot}")
    ]  # fmt: skip
    if plan.get("domains"):
        to = f"tcp dport 443 dnat ip to {egress.GATEWAY}:{egress.RELAY_PORT}"
        lines += _chain(f"name{slot}", [*_allowed(cidrs, "return"), to])
        lines.append(_element("add", "named", link, f"goto name{slot}"))
    return lines


def closed(slot: int, plan: Plan) -> str:
    """Take it away again."""
    link = f'"wc{slot}"'
    lines = [_element("delete", name, key) for name, key, _ in _elements(slot, plan)]
    if _listed(plan):
        lines += [_element("delete", "limited", link), *_gone(f"limit{slot}")]
    if plan.get("domains"):
        lines += [_element("delete", "named", link), *_gone(f"name{slot}")]
    return "\n".join(lines)


def _listed(plan: Plan) -> bool:
    return "cidrs" in plan or "domains" in plan or "endpoints" in plan


def _forward(link: str, plan: Plan, cidrs: list[str]) -> list[str]:
    if "endpoints" in plan:
        pairs = ", ".join(plan["endpoints"])
        opened = [f'ip daddr . tcp dport {{ {pairs} }} oifname "{uplink.NAME}" accept'] if pairs else []
        return ["jump resolvers", *opened, "goto refuse"]
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


def _element(action: str, name: str, key: str, value: str = "") -> str:
    return f"{action} element {_TABLE} {name} {{ {key}{f' : {value}' if value else ''} }}"
