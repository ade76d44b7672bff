"""Rules of single containers, as text."""

from __future__ import annotations

import ipaddress

from windlass.worker import egress, limits, sources


def test_a_container_without_a_plan_of_its_own_has_no_rules() -> None:
    assert limits.opened(5, {}) == limits.closed(5, {}) == ""


def test_an_empty_list_leaves_not_even_name_servers() -> None:
    rules = limits.opened(5, {"cidrs": [], "domains": []})
    assert "resolvers" not in rules and "accept" not in rules and "goto refuse" in rules
    assert '"wc5" : goto limit5' in rules


def test_a_list_never_opens_what_is_closed_to_all() -> None:
    rules = limits.opened(5, {"cidrs": ["10.0.0.0/8", "2001:db8::/32"]})
    assert "ip daddr != @closed ip daddr { 10.0.0.0/8 }" in rules and "2001" not in rules
    assert egress.closed("10.1.2.3", []) and egress.closed("203.0.113.7", ["203.0.113.7"])
    assert not egress.closed("203.0.113.8", ["203.0.113.7"])


def test_a_network_for_one_endpoint_reaches_that_and_nothing_else_be_it_closed_to_containers() -> None:
    rules = limits.opened(5, {"endpoints": ["10.0.0.7 . 9000", "10.0.0.8 . 9000"]})
    assert "ip daddr . tcp dport { 10.0.0.7 . 9000, 10.0.0.8 . 9000 }" in rules
    assert rules.count("accept") == 1 and "limit5 goto refuse" in rules
    assert "accept" not in limits.opened(5, {"endpoints": []})


def test_all_that_a_plan_adds_goes_with_the_container() -> None:
    plan: limits.Plan = {"cidrs": ["203.0.113.0/24"], "domains": ["*"], "source": "198.18.0.5"}
    opened, closed = limits.opened(300, plan), limits.closed(300, plan)
    for name in ("limited", "named", "sources"):
        assert f"add element inet windlass {name} {{" in opened and f"delete element inet windlass {name} {{" in closed
    for name in ("limit300", "name300"):
        assert f"add chain inet windlass {name}" in opened and f"delete chain inet windlass {name}" in closed
    assert "198.19.1.44 : 198.18.0.5" in opened


def test_an_address_to_leave_by_keeps_what_stands_for_it() -> None:
    network = ipaddress.IPv4Network("198.18.0.64/26")
    first = sources.pairs(network, ["192.0.2.1", "192.0.2.2"], {})
    assert first == {"192.0.2.1": "198.18.0.67", "192.0.2.2": "198.18.0.68"}
    assert sources.pairs(network, ["192.0.2.9", "192.0.2.2"], first) == {**first, "192.0.2.9": "198.18.0.69"}
    many = [f"192.0.2.{number}" for number in range(100)]
    assert len(sources.pairs(network, many, {})) == 60
