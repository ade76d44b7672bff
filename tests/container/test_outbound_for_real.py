"""Lists of what containers may reach, in a real node, with real packets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import internet
import leftovers
from windlass import exception
from windlass.worker import node

INSIDE = Path(__file__).with_name("outbound.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What containers with several lists reached, all tried once."""
    home = tmp_path_factory.mktemp("node")
    with internet.internet(tmp_path_factory.mktemp("internet")) as net:
        try:
            place = node.up(home)
        except exception.ExecutionError as exc:
            pytest.skip(f"this machine gives no node namespace: {exc}")
        try:
            line = [sys.executable, str(INSIDE), str(home), net.server, net.other]
            done = subprocess.run(
                node.enter_argv(place, line), capture_output=True, text=True, timeout=90, check=False
            )
            assert done.returncode == 0, done.stderr
            yield {**json.loads(done.stdout), "net": net}
        finally:
            node.down(home)
            assert not leftovers.look(home)


def reached(lines: list[str]) -> list[bool]:
    return [line.startswith("from ") for line in lines]


def test_without_a_list_all_public_addresses_are_reached(found: dict[str, Any]) -> None:
    assert reached(found["free"]) == [True, True]


def test_of_networks_any_protocol_is_allowed_and_private_ones_stay_closed(found: dict[str, Any]) -> None:
    assert reached(found["cidr"]) == [True, True, False, False, False, True, False], found["cidr"]


def test_an_empty_list_allows_nothing(found: dict[str, Any]) -> None:
    assert reached(found["nothing"]) == [False, False]


def test_a_domain_allows_tls_to_where_the_worker_finds_it_and_nothing_else(found: dict[str, Any]) -> None:
    by_name, by_wrong_address, by_private_address, *refused, listed, relay, plain = found["named"]
    assert reached([by_name, by_wrong_address, by_private_address]) == [True, True, True], found["named"]
    assert not any(reached(refused)) and len(refused) == 8, refused
    assert reached([listed, relay, plain]) == [True, False, True], "lists add to each other; the relay itself is closed"
    assert reached(found["all"]) == [True, False]


def test_what_was_refused_is_told_with_its_reason(found: dict[str, Any]) -> None:
    told, net = {(one, text) for one, text in found["said"]}, found["net"]
    of_named = " ".join(text for one, text in told if one == "named")
    for words in (
        "other.test is not in outbound_domain_allowlist", "names no server (SNI)", "private.test is at 10.1.2.3",
        "gone.test cannot be resolved", "does not speak TLS", f"{net.server}, TCP port 80",
        f"{net.server}, UDP port 443",
    ):  # fmt: skip
        assert words in of_named, (words, of_named)
    assert any(one == "cidr" and "10.1.2.3, TCP port 80" in text for one, text in told)
    assert not any(one == "free" for one, _ in told)


def test_lists_hold_while_no_worker_runs_and_for_the_next_one(found: dict[str, Any]) -> None:
    assert reached(found["between"]) == [False, False], "without the relay nothing passes"
    assert reached(found["after"]) == [True, False]
    assert not found["left"], "the rules go with the container"


def test_a_redirect_leads_the_program_of_a_members_bucket_nowhere_behind_the_machine(found: dict[str, Any]) -> None:
    seen = found["fenced"]
    assert seen["owner"], "the owner's follows it, so the attempt is a real one"
    assert seen["member"] == 0 and seen["member outside"]
    assert seen["alone"] == [True, False, False], "an endpoint that the setting allows, and nothing else"


def test_what_the_setting_allows_of_loopback_is_all_that_is_passed_on_also_by_the_next_worker(
    found: dict[str, Any],
) -> None:
    seen = found["fenced"]
    assert seen["loopback"] == [True, False]
    assert (seen["between"], seen["after"], seen["left over"]) == (False, True, [])
