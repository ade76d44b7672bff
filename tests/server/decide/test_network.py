"""What of a container's network the server decides."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.server.decide import network

OPEN = {"block_network": False}


def test_a_plan_says_only_what_is_not_as_of_all_others():
    assert network.plan(OPEN) == {}
    spec = {**OPEN, "outbound_cidrs": [], "outbound_domains": ["example.com"]}
    assert network.plan(spec, "192.0.2.1") == {"cidrs": [], "domains": ["example.com"], "source": "192.0.2.1"}


def test_without_a_network_there_is_neither_a_list_nor_a_proxy_nor_i6pn():
    for more in ({"outbound_cidrs": []}, {"outbound_domains": []}, {"proxy": "pr-1"}, {"i6pn": True}):
        network.check({**OPEN, **more})
        with pytest.raises(exception.InvalidError, match="block_network"):
            network.check({"block_network": True, **more})


def test_a_domain_must_be_written_as_it_is_stored():
    with pytest.raises(exception.InvalidError, match=r"'example\.com'"):
        network.check({**OPEN, "outbound_domains": ["Example.com"]})


def test_a_proxy_has_addresses_of_the_machine():
    there = ["192.0.2.1", "192.0.2.2"]
    network.check_sources(["192.0.2.1"], there, "")
    with pytest.raises(exception.InvalidError) as refused:
        network.check_sources(["192.0.2.9"], there, "")
    assert "192.0.2.1, 192.0.2.2" in str(refused.value.hint)
    for wanted in ([], ["192.0.2.1"] * 2, [f"192.0.2.{number}" for number in range(6)]):
        with pytest.raises(exception.InvalidError):
            network.check_sources(wanted, there, "")
    with pytest.raises(exception.UnimplementedError, match="slirp4netns"):
        network.check_sources(["192.0.2.1"], [], "containers leave through slirp4netns")


def test_what_no_machine_can_give_is_refused_at_once():
    network.check_here({"i6pn": True, "proxy": "pr-1"}, {"veth"})
    network.check_here({"i6pn": True}, {"slirp"})
    network.check_here({"i6pn": True, "proxy": "pr-1"}, {""})
    for spec, uplinks in (({"i6pn": True}, {"none"}), ({"proxy": "pr-1"}, {"slirp"}), ({"proxy": "pr-1"}, {"none"})):
        with pytest.raises(exception.UnimplementedError):
            network.check_here(spec, uplinks)


def test_private_addresses_are_of_the_workspace_and_differ():
    found = {network.private_address("12ab34cd" + "0" * 56, f"ta-{number}") for number in range(100)}
    assert len(found) == 100 and all(one.startswith("fdaa:12ab:34cd:") for one in found)
