"""Lists of addresses and domains."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.client import reach as checks
from windlass.server.decide import network
from windlass.wire import reach


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"), ("203.0.113.7", "203.0.113.7/32"), ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"), ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)  # fmt: skip
def test_a_network_has_one_way_to_be_written(given, stored):
    assert reach.cidr(given) == stored and reach.cidr(stored) == stored


@pytest.mark.parametrize("wrong", ["", "example.com", "203.0.113.0/33", "1.2.3", "10.0.0.1/8", "::/129", "01.2.3.4"])
def test_what_is_no_network_is_refused_with_its_text(wrong):
    with pytest.raises(exception.InvalidError, match="inbound_cidr_allowlist"):
        checks.cidrs("inbound_cidr_allowlist", [wrong])


def test_an_address_with_bits_beyond_its_network_is_refused_with_the_network():
    with pytest.raises(exception.InvalidError, match=r"'10.0.0.0/8'"):
        checks.cidrs("outbound_cidr_allowlist", ["10.0.0.1/8"])


@pytest.mark.parametrize("wrong", ["203.0.113.0/24", [5], {"a": 1}, 7, ["1.1.1.1"] * (reach.MOST + 1)])
def test_what_is_no_list_of_strings_is_refused(wrong):
    with pytest.raises(exception.InvalidError):
        checks.cidrs("outbound_cidr_allowlist", wrong)


@pytest.mark.parametrize(
    "wrong",
    ["", ".", "https://example.com", "example.com/x", "example.com:443", "a..b", "*.", "**.example.com",
     "a.*.example.com", "-" * 64 + ".com", "x." * 127 + "com", "203.0.113.7", "127.1", "ex ample.com", "*.*", "a\0b"],
)  # fmt: skip
def test_what_is_no_domain_is_refused(wrong):
    with pytest.raises(exception.InvalidError, match="outbound_domain_allowlist"):
        checks.domains("outbound_domain_allowlist", [wrong])


def test_domains_match_exactly_below_or_all():
    assert reach.allows(["example.com"], "example.com") and not reach.allows(["example.com"], "a.example.com")
    assert reach.allows(["*.example.com"], "example.com") and reach.allows(["*.example.com"], "a.b.example.com")
    assert not reach.allows(["*.example.com"], "notexample.com") and not reach.allows([], "example.com")
    assert reach.allows(["*"], "anything.test")


def test_an_address_is_looked_up_in_networks_of_its_kind():
    assert reach.holds(["203.0.113.0/24"], "203.0.113.9") and reach.holds(["2001:db8::/32"], "2001:db8::9")
    assert reach.holds(["203.0.113.0/24"], "::ffff:203.0.113.9") and not reach.holds(["203.0.113.0/24"], "::9")


def test_the_server_takes_only_what_is_written_as_it_is_stored():
    network.check({"block_network": False, "inbound_cidrs": ["203.0.113.0/24"]})
    network.check({"block_network": True})
    for spec in (
        {"block_network": False, "inbound_cidrs": ["203.0.113.7"]},
        {"block_network": False, "inbound_cidrs": ["x"]},
        {"block_network": True, "inbound_cidrs": []},
        {"block_network": False, "inbound_cidrs": ["1.1.1.1/32"] * (reach.MOST + 1)},
    ):
        with pytest.raises(exception.InvalidError):
            network.check(spec)
