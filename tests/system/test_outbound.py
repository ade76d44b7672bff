"""What functions and sandboxes may reach of a world outside, and by which address they leave."""

from __future__ import annotations

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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_OTHER", net.other)
        from programs import outbound

        with outbound.app.run():
            yield outbound


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
