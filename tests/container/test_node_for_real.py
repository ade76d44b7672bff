"""A real node namespace on this machine, and what containers may do in it."""
from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import leftovers
from windlass import exception
from windlass.worker import node, uplink

INSIDE = Path(__file__).with_name("inside.py")


def ask(place: node.Node, *words: str, network: bool = True) -> dict[str, Any]:
    """Run ``inside.py`` in the node."""
    line = node.enter_argv(place, [sys.executable, str(INSIDE), str(place.home), *words], network=network)
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[node.Node]:
    """A node of its own; nothing of it may be left."""
    try:
        made = node.up(tmp_path)
    except exception.ExecutionError as exc:
        pytest.skip(f"this machine gives no node namespace: {exc}")
    try:
        yield made
    finally:
        node.down(tmp_path)
        assert not leftovers.look(tmp_path)


@pytest.fixture
def host_service() -> Iterator[str]:
    """Something that listens on an address of the host, as sshd does."""
    addresses = [address for address in uplink.host_addresses() if not address.startswith("198.18.")]
    if not addresses:
        pytest.skip("this machine has no address but loopback")
    with socket.create_server((addresses[0], 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield f"{addresses[0]}:{server.getsockname()[1]}"


def _accept(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


def test_up_finds_the_node_that_is_up_already(place: node.Node) -> None:
    assert node.up(place.home) == place


def test_a_killed_node_is_made_again(place: node.Node) -> None:
    door = os.pidfd_open(place.pid)
    os.kill(place.pid, signal.SIGKILL)
    select.select([door], [], [], 5)
    os.close(door)
    again = node.up(place.home)
    assert again.pid != place.pid and again.alive


def test_the_machines_devices_cannot_be_given_away_inside(place: node.Node) -> None:
    before = os.stat("/dev/null")
    script = "chown 1:1 /dev/null || chmod 600 /dev/null || echo written > /dev/null && echo usable"
    done = subprocess.run(
        node.enter_argv(place, ["sh", "-c", script]), capture_output=True, text=True, timeout=20, check=False
    )
    after = os.stat("/dev/null")
    assert done.stdout == "usable\n" and done.stderr.count("Read-only") == 2
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


def test_two_homes_live_side_by_side(place: node.Node, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("other")
    other = node.up(home)
    try:
        assert other.pid != place.pid and other.alive
    finally:
        node.down(home)
    assert place.alive and not leftovers.look(home)


def test_down_ends_processes_and_deletes_files_of_killed_containers(place: node.Node) -> None:
    folder = f"{place.home}/containers/ta-1"
    script = f"mkdir -p {folder}/upper; chown -R 5:5 {folder}; chmod 700 {folder}; exec sleep 60"
    program = subprocess.Popen(node.enter_argv(place, ["sh", "-c", script + " & wait"]))
    while not Path(folder, "upper").exists() and program.poll() is None:
        pass
    node.down(place.home)
    assert program.wait(5) != 0
    assert not list((place.home / "containers").iterdir())


def test_inside_the_owner_is_root_with_nobody_elses_rights(place: node.Node) -> None:
    script = "id -u; cat /proc/self/uid_map; mknod /tmp/x b 1 1 2>&1; hostname x 2>&1; true"
    done = subprocess.run(node.enter_argv(place, ["sh", "-c", script]), capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "0" and lines[1].split()[0] == "0" and lines[1].split()[2] == "1"
    assert "mknod" in done.stdout and "hostname" in done.stdout  # both refused


def test_containers_reach_neither_the_host_nor_each_other(place: node.Node, host_service: str) -> None:
    if place.uplink.kind == "none":
        pytest.skip("no network for containers here")
    found = ask(place, "networks", host_service)
    assert found["neighbour"] == found["host"] == found["blocked"] == "closed"
    assert found["itself"] == "open"
    assert found["addresses"][0] != found["addresses"][1] and found["addresses"][2] == ""
    if place.uplink.kind == "veth":
        assert found["host from the node"] == "closed"


def test_the_next_worker_finds_the_network_of_a_living_container(place: node.Node) -> None:
    found = ask(place, "restart")
    assert found["before"] == found["after"]


def test_a_container_that_takes_too_much_memory_is_killed_and_it_is_known_why(place: node.Node) -> None:
    found = ask(place, "memory")
    if "gaps" in found:
        pytest.skip(f"no limits here: {found['gaps']}")
    assert found["code"] == -signal.SIGKILL and found["oom"] and found["removed"]
    assert found["limit"] == 32 * 2**20 and found["peak"] > 30 * 2**20


def test_host_programs_run_as_the_root_of_a_container(place: node.Node) -> None:
    found = ask(place, "mapped")
    assert found["lines"] == ["0\n", "mounted\n"] and found["code"] == 7
    assert found["owner"] == 1 and not found["there"]


def test_only_programs_of_the_outside_thread_reach_the_machines_loopback(place: node.Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        found = ask(place, "outside", f"127.0.0.1:{server.getsockname()[1]}", network=False)
    inner = "open" if place.uplink.kind == "none" else "closed"
    assert found["outside"] == [0, "open\n", "said\n", "said\n"]
    assert found["here"] == found["thread"] == inner
    assert found["late"] == ["on its way\n", "did not end within 3 s"] and found["left"] == 0


def test_cancelling_a_program_outside_ends_all_that_it_started(place: node.Node) -> None:
    assert ask(place, "cancelled", network=False) == {"cancelled": True, "there": 1, "left": 0}


def test_doctor_tries_everything_and_leaves_nothing(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "windlass.worker.host", "--json", "--home", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert {"kernel", "node namespace"} <= checks.keys()
    assert all(check["ok"] or check["detail"] for check in checks.values())
    assert not list(tmp_path.iterdir())
