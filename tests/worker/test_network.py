"""Addresses, name servers and rules, as far as they are decided without a kernel."""
from __future__ import annotations

import ipaddress

import pytest

from windlass import exception
from windlass.worker import egress, netlink, netns, uplink


def test_a_home_always_gets_the_same_addresses_and_steps_aside_for_others() -> None:
    first = uplink.choose_network("0000002a", [])
    assert first == ipaddress.IPv4Network("198.18.10.128/26")
    assert uplink.choose_network("0000002a", [first]) == ipaddress.IPv4Network("198.18.10.192/26")
    everything = ipaddress.IPv4Network("0.0.0.0/0")
    assert uplink.choose_network("0000002a", [everything]) == first  # a default route is not in the way


def test_where_no_addresses_are_free_the_node_says_so() -> None:
    with pytest.raises(exception.ExecutionError, match=r"198\.18\.0\.0/16"):
        uplink.choose_network("00000001", [ipaddress.IPv4Network("198.18.0.0/15")])


def test_name_servers_are_the_ipv4_ones() -> None:
    lines = ["# nameserver 1.1.1.1", "nameserver 10.0.0.1", "search x", "nameserver fe80::1%eth0", "nameserver"]
    assert uplink.resolvers("\n".join([*lines, "nameserver 9.9.9.9"])) == ["10.0.0.1", "9.9.9.9"]


def test_rules_close_private_networks_and_the_host_but_not_its_name_servers() -> None:
    rules = egress.rules(resolvers=["10.0.0.53"], host_addresses=["203.0.113.7"])
    closed = next(line for line in rules.splitlines() if "elements" in line)
    for network in ("10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "203.0.113.7"):
        assert network in closed
    names = rules.index("10.0.0.53 } meta l4proto { tcp, udp } th dport 53 accept")
    assert names < rules.index("daddr != @closed accept")


def test_without_name_servers_no_rule_opens_port_53() -> None:
    assert "dport 53" not in egress.rules(resolvers=[], host_addresses=[])


def test_each_slot_has_an_address_of_its_own() -> None:
    assert [netns.address(slot) for slot in (2, 255, 256, 65_000)] == [
        "198.19.0.2", "198.19.0.255", "198.19.1.0", "198.19.253.232",
    ]  # fmt: skip


def test_an_address_tells_whose_it_is() -> None:
    assert [netns.slot(netns.address(slot)) for slot in (2, 300, 65_000)] == [2, 300, 65_000]
    assert [netns.slot(address) for address in ("198.18.1.44", "127.0.0.1", "198.20.0.5")] == [0, 0, 0]


def test_messages_to_the_kernel_are_padded_to_words() -> None:
    for _, _, body in (
        netlink.veth("eth0", 2, mtu=1400, peer="wc12345", peer_index=7, peer_netns=3),
        netlink.address(2, "198.19.0.2"),
        netlink.neighbour(7, "198.19.0.2", source="198.19.0.1"),
        netlink.default_route(2, "198.19.0.1"),
        netlink.private_address(2, "fdaa::5"),
        netlink.private_route(2, "fdaa::/16", "fe80::1"),
    ):
        assert len(body) % 4 == 0
