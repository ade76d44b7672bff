"""Attempts to break out of a sandbox, from inside, as its root and as an ordinary user: each must fail.

The platform is root's; ``test_sandbox_walls_of_a_user`` makes the same attempts on one of an ordinary user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import escapes
import offered
import windlass
from stage import Stage, until

EMULATED = os.environ.get("WINDLASS_VM_ACCEL") == "tcg"


@pytest.fixture(scope="module", params=("container", "vm"))
def sandbox(request: Any, stage: Stage) -> Iterator[windlass.Sandbox]:
    """In a virtual machine the walls of containers stand around commands, too."""
    if request.param == "vm" and EMULATED and os.environ.get("WINDLASS_TEST_VM") != "all":
        pytest.skip("without KVM only with WINDLASS_TEST_VM=all: minutes")
    stage.base()
    app = windlass.App.lookup("test-sandbox-walls", create_if_missing=True)
    if request.param == "vm":
        offered.needed(app, request.param)
    made = windlass.Sandbox.create(app=app, timeout=3600, runtime=request.param)
    yield made
    made.terminate(wait=True)


def attempt(sandbox: windlass.Sandbox, script: str, *, as_a_user: bool = False) -> str:
    script = escapes.script(script, as_a_user=as_a_user)
    process = sandbox.exec("python3", "-c", script, timeout=60)
    return str(process.stdout.read() + process.stderr.read())


@pytest.mark.parametrize("name", escapes.ATTEMPTS)
def test_root_inside_does_not_get_out(sandbox, name):
    said = attempt(sandbox, escapes.ATTEMPTS[name])
    assert escapes.held(said), said


@pytest.mark.parametrize("name", escapes.ATTEMPTS)
def test_a_user_inside_does_not_get_out(sandbox, name):
    said = attempt(sandbox, escapes.ATTEMPTS[name], as_a_user=True)
    assert escapes.held(said), said


def test_a_program_with_the_setuid_bit_gives_no_rights(sandbox):
    sandbox.exec("sh", "-c", "cp /usr/bin/id /tmp/id; chmod 4755 /tmp/id").wait()
    said = attempt(
        sandbox, "print(subprocess.run(['/tmp/id', '-u'], capture_output=True).stdout)", as_a_user=True
    )  # fmt: skip
    assert "1000" in said, said


def test_without_a_network_there_is_none(sandbox):
    app = windlass.App.lookup("test-sandbox-walls", create_if_missing=True)
    alone = windlass.Sandbox.create(app=app, block_network=True)
    names = alone.exec("sh", "-c", "tail -n +3 /proc/net/dev | cut -d: -f1").stdout.read().split()
    assert names == ["lo"]
    said = attempt(alone, "refused(lambda: socket.create_connection(('1.1.1.1', 53), timeout=2))")
    assert "held" in said
    alone.terminate()


def test_sandboxes_do_not_see_each_other(sandbox):
    app = windlass.App.lookup("test-sandbox-walls", create_if_missing=True)
    other = windlass.Sandbox.create("sleep", "31337", app=app)
    other.exec("sh", "-c", "echo secret > /tmp/secret").wait()
    assert "31337" not in sandbox.exec("sh", "-c", "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '").stdout.read()
    assert sandbox.exec("test", "-e", "/tmp/secret").wait() == 1
    address = other.exec("sh", "-c", "tail -1 /etc/hosts | cut -d' ' -f1").stdout.read().strip()
    server = other.exec("python3", "-m", "http.server", "8099")
    ask = "import socket; socket.create_connection(('127.0.0.1', 8099))"
    until(lambda: other.exec("python3", "-c", ask).wait() == 0)
    said = attempt(sandbox, f"refused(lambda: socket.create_connection(({address!r}, 8099), timeout=2))")
    assert "held" in said, said
    assert server.poll() is None
    other.terminate()


def test_the_root_inside_is_nobody_outside(sandbox):
    process = sandbox.exec("sleep", "424242")
    own_kernel = sandbox.exec("uname", "-v").stdout.read().strip() != os.uname().version
    mark = b"virtserialport,chardev=line" if own_kernel else b"sleep\x00424242\x00"
    found: list[Any] = []

    def outside() -> bool:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        if mark in file.read():
                            found.append(os.stat(f"/proc/{entry}").st_uid)
                except OSError:
                    continue
        return bool(found)

    until(outside)
    assert found[0] >= 65536, found
    assert process.poll() is None
