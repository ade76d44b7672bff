"""Which ports are opened, and who may come by them."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.server.decide import ports

SPEC = {"block_network": False}


def wanted(*kinds, **more):
    return {**SPEC, "ports": [{"port": 80 + n, "kind": kind} for n, kind in enumerate(kinds)], **more}


def test_ports_of_each_kind_and_domains_that_are_registered_are_fine():
    ports.check(wanted("tls", "h2", "tcp"), [])
    ports.check(wanted("tls", custom_domain="example.org"), ["*.example.org"])


@pytest.mark.parametrize(
    "spec",
    [
        wanted("any"), wanted("tls", block_network=True), wanted(*["tls"] * 65),
        {**SPEC, "ports": [{"port": 0, "kind": "tls"}]}, {**SPEC, "ports": [{"port": 1, "kind": "tls"}] * 2},
        wanted("tls", custom_domain="example.org"), wanted("tls", custom_domain="x.example.org"),
    ],
)  # fmt: skip
def test_what_no_client_of_ours_asks_for_is_refused(spec):
    with pytest.raises(exception.InvalidError):
        ports.check(spec, ["example.org", "*.example.com"])


@pytest.mark.parametrize(
    ("listed", "address", "admitted"),
    [
        (None, "203.0.113.9", True), ([], "127.0.0.1", False), (["127.0.0.0/8"], "127.0.0.1", True),
        (["10.0.0.0/8"], "127.0.0.1", False), (["10.0.0.0/8"], "::ffff:10.1.2.3", True), (["10.0.0.0/8"], None, False),
    ],
)  # fmt: skip
def test_who_may_come_is_said_by_the_list(listed, address, admitted):
    spec = SPEC if listed is None else {**SPEC, "inbound_cidrs": listed}
    assert ports.admits(spec, address) is admitted


@pytest.mark.parametrize("text", ["x" * 512, "a\r\nb: c", "\u00e9", "\x00"])
def test_what_cannot_be_a_header_is_no_metadata(text):
    with pytest.raises(exception.InvalidError):
        ports.check_metadata(text)
