"""What functions and sandboxes may reach of a world outside, and by which address they leave."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import internet
import windlass
from stage import Stage, until

TELL = "import socket; s = socket.create_connection(({!r}, {}), 5); s.sendall(b'x'); print(s.recv(99).decode())"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[internet.Internet]:
    with internet.internet(tmp_path_factory.mktemp("internet")) as made:
        yield made


@pytest.fixture(scope="module")
def program(stage: Stage, net: internet.Internet) -> Iterator[Any]:
    """The app, running, with its list as the test's internet needs it."""
    stage.base()
    stage.cli("proxy", "create", "test-proxy", "--address", net.here[1], check=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_OTHER", net.other)
        from programs import outbound

        with outbound.app.run():
            yield outbound
    stage.cli("proxy", "delete", "test-proxy", "--yes", check=0)


def test_a_function_reaches_what_its_lists_allow_and_its_log_tells_the_rest(stage, net, program):
    targets = [(net.server, 80), (net.other, 80)]
    assert program.free.remote(targets) == [f"from {net.here[0]}"] * 2
    assert all("from" not in said for said in program.blocked.remote(targets))
    first, second, third = program.listed.remote([*targets, (net.server, 443)])
    assert "from" not in first and second == f"from {net.here[0]}" and "from" not in third
    app_id = program.app.app_id
    until(lambda: f"refused by its lists of what it may reach: {net.server}, TCP port 80" in
          stage.cli("app", "logs", app_id, "--source", "system", check=0).text)  # fmt: skip


def test_a_sandbox_reaches_what_its_lists_allow(stage, net, program):
    app = windlass.App.lookup("test-outbound-boxes", create_if_missing=True)
    with pytest.warns(windlass.exception.DeprecationError, match="outbound_cidr_allowlist"):
        box = windlass.Sandbox.create("sleep", "300", app=app, cidr_allowlist=[net.other])
    named = windlass.Sandbox.create("sleep", "300", app=app, outbound_domain_allowlist=["*.allowed.test"])
    assert net.here[0] in box.exec("python3", "-c", TELL.format(net.other, 80)).stdout.read()
    assert box.exec("python3", "-c", TELL.format(net.server, 80)).wait() == 1
    ask = f"import ssl; ssl.get_server_certificate(({net.server!r}, 443), timeout=5)"
    assert "SSL" in named.exec("python3", "-c", ask).stderr.read()
    until(lambda: "it names no server" in "".join(entry.message for entry in named.logs.tail(20)))
    for one in (box, named):
        one.terminate(wait=True)


def test_a_virtual_machine_reaches_what_its_lists_allow(stage, net, program):
    app = windlass.App.lookup("test-outbound-boxes", create_if_missing=True)
    try:
        box = windlass.Sandbox.create(
            "sleep", "300", app=app, runtime="vm", memory=256, outbound_cidr_allowlist=[net.other]
        )
    except windlass.exception.UnimplementedError as exc:
        pytest.skip(str(exc))
    assert net.here[0] in box.exec("python3", "-c", TELL.format(net.other, 80)).stdout.read()
    assert box.exec("python3", "-c", TELL.format(net.server, 80)).wait() == 1
    box.terminate(wait=True)


def test_containers_that_name_a_proxy_are_seen_with_its_address(stage, net, program):
    assert program.by_proxy.remote([(net.server, 80)]) == [f"from {net.here[1]}"]
    assert program.free.remote([(net.server, 80)]) == [f"from {net.here[0]}"], "and others are not"
    app = windlass.App.lookup("test-outbound-boxes", create_if_missing=True)
    proxy = windlass.Proxy.from_name("test-proxy")
    box = windlass.Sandbox.create("sleep", "300", app=app, proxy=proxy, outbound_cidr_allowlist=[net.other])
    assert net.here[1] in box.exec("python3", "-c", TELL.format(net.other, 80)).stdout.read()
    assert box.exec("python3", "-c", TELL.format(net.server, 80)).wait() == 1
    box.terminate(wait=True)
    assert [one["addresses"] for one in stage.json("proxy", "list")] == [[net.here[1]]]


def test_an_address_that_the_machine_does_not_have_is_refused_with_those_it_has(stage, net, program):
    said = stage.cli("proxy", "create", "other", "--address", "192.0.2.77", check=1).text
    assert "192.0.2.77" in said and net.here[0] in said and net.here[1] in said
    assert "already" in stage.cli("proxy", "create", "test-proxy", "--address", net.here[0], check=1).text
    assert "each once" in stage.cli("proxy", "create", "x", *["--address", net.here[0]] * 2, check=1).text
    with pytest.raises(windlass.exception.NotFoundError, match="no proxy 'nobody'"):
        windlass.Proxy.from_name("nobody").hydrate()


def test_containers_of_one_app_that_ask_for_it_reach_each_other_privately_and_nobody_else_does(program):
    door = program.welcome.remote_gen(110)
    address = next(door)
    assert address.startswith("fdaa:")
    with program.other.run():
        assert "refused" in program.visit_from_elsewhere.remote(address)
    assert "refused" in program.visit_without.remote(address)
    said, own, beyond = program.visit_privately.remote(address)
    assert said == "welcome" and own.startswith(address[:9]) and own != address and "refused" in beyond
    assert next(door) == own, "the first that came is the only one that could"
    door.close()


def test_a_container_does_not_start_by_an_address_that_the_machine_has_lost(net, program):
    app = windlass.App.lookup("test-outbound-boxes", create_if_missing=True)
    subprocess.run(["ip", "addr", "del", f"{net.here[1]}/29", "dev", net.link], check=True)
    box = windlass.Sandbox.create("sleep", "300", app=app, proxy=windlass.Proxy.from_name("test-proxy"))
    with pytest.raises(windlass.exception.Error, match="does not have"):
        box.exec("true").wait()
