"""A container gets exactly the resources, mounts and network that its spec says; seen from inside and from the host."""

from __future__ import annotations

import concurrent.futures
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

import internet
from leftovers import tag
from programs import walls

CAPABILITIES = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT"
NUMBERS = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "SYS_CHROOT": 18,
}


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with walls.app.run():
        yield


@pytest.fixture(scope="module")
def inside(running):
    return walls.look.remote()


def sh(command: str, seconds: float = 0) -> str:
    return walls.shell.remote(command, seconds)[0]


# -- walls ----------------------------------------------------------------------------------------------


def test_it_has_namespaces_of_its_own(inside):
    other = walls.blocked.remote()
    for kind, mine in inside["namespaces"].items():
        assert mine != os.readlink(f"/proc/self/ns/{kind}"), f"{kind} is shared with the host"
        assert mine != other["namespaces"][kind], f"{kind} is shared with another container"


def test_it_sees_its_own_processes_only(inside):
    assert inside["pids"][0] == 1 and len(inside["pids"]) < 5
    assert inside["hostname"] != socket.gethostname()


def test_its_users_are_mapped_to_nobody(inside):
    assert inside["uid"] == 0
    for mapping in (inside["uid_map"], inside["gid_map"]):
        assert mapping[0] == "0" and int(mapping[1]) != 0 and int(mapping[2]) == 65535


def test_no_new_privileges_seccomp_and_few_capabilities(inside):
    status = inside["status"]
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    expected = sum(1 << NUMBERS[name] for name in CAPABILITIES.split())
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status[kind], 16) == expected, kind
    assert int(status["CapAmb"], 16) == int(status["CapInh"], 16) == 0


def test_system_calls_that_reach_out_are_refused():
    results = walls.try_calls.remote()
    assert {name: result for name, result in results.items() if result == "done"} == {}


def test_proc_is_masked():
    assert sh("cat /proc/kcore /proc/timer_list /proc/keys 2>/dev/null | head -c 10") == ""
    assert sh("ls /sys/firmware 2>/dev/null; ls /sys/fs/cgroup") == ""
    assert "Read-only" in sh("echo 1 > /proc/sys/net/ipv4/ip_forward")
    devices = sh("cat /proc/1/root/etc/hostname > /dev/null; ls /dev").split()
    assert [name for name in devices if name != "core"] == sorted(  # which is there where the host has /proc/kcore
        [
            "fd",
            "full",
            "mqueue",
            "null",
            "ptmx",
            "pts",
            "random",
            "shm",
            "stderr",
            "stdin",
            "stdout",
            "tty",
            "urandom",
            "zero",
        ]
    )


def test_it_has_the_mounts_of_its_spec_and_no_others(inside, stage):
    points = [line.split()[4] for line in inside["mounts"].splitlines()]
    ours = [point for point in points if not re.match(r"/(proc|sys|dev)(/|$)", point)]
    assert set(ours) <= {
        "/",
        "/__windlass/lib",
        "/__windlass/run",
        "/__windlass/plan.json",
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/hostname",
    }
    read_only = {line.split()[4] for line in inside["mounts"].splitlines() if "ro" in line.split()[5].split(",")}
    assert {"/__windlass/lib", "/__windlass/run", "/__windlass/plan.json", "/sys"} <= read_only
    assert str(stage.home / "db") not in inside["mounts"]


def test_nothing_of_the_callers_environment_gets_in(inside, monkeypatch):
    names = set(inside["environment"])
    assert not names & {"SSL_CERT_FILE", "WINDLASS_HOME", "VIRTUAL_ENV", "SHELL", "OLDPWD", "PYTEST_CURRENT_TEST"}
    assert inside["environment"]["HOME"] == "/root"


# -- resources ------------------------------------------------------------------------------------------


def group_file(stage, container: str, *names: str) -> str:
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) == container and tag(stage.home) in folder:
            for name in names:
                if name in files:
                    return Path(folder, name).read_text().strip()
    pytest.skip(f"this machine has none of {names}")


def test_memory_and_processor_and_processes_are_limited_as_asked(stage, inside):
    container = inside["task"]
    assert int(group_file(stage, container, "memory.limit_in_bytes", "memory.max")) == 300 << 20
    quota = group_file(stage, container, "cpu.cfs_quota_us", "cpu.max").split()[0]
    assert int(quota) == 150_000
    assert int(group_file(stage, container, "pids.max")) > 0


def test_the_number_of_threads_of_libraries_follows_the_request(inside):
    assert inside["environment"]["OMP_NUM_THREADS"] == "1"


# -- network --------------------------------------------------------------------------------------------


def test_private_ranges_the_metadata_service_and_the_host_are_refused():
    """Refused at once, not lost in a time-out."""
    with listener("0.0.0.0") as port:
        targets = [
            ("169.254.169.254", 80),
            ("10.0.0.1", 80),
            ("172.16.0.1", 80),
            ("192.168.1.1", 80),
            ("198.19.0.1", port),
        ]
        targets += [(address, port) for address in host_addresses()]
        answers = dict(zip(targets, walls.reach_all.remote(targets), strict=True))
    assert {target: answer for target, answer in answers.items() if answer.startswith("open")} == {}
    assert {target: answer for target, answer in answers.items() if answer == "timeout"} == {}


def test_its_own_loopback_is_its_own():
    with listener("127.0.0.1") as port:
        assert walls.reach_all.remote([("127.0.0.1", port)]) == ["ECONNREFUSED"]


def test_the_outside_is_reached_through_nat(tmp_path):
    """A public address, here that of a network namespace which this test makes, sees the host as the caller."""
    with internet.internet(tmp_path) as made:
        (answer,) = walls.reach_all.remote([(made.server, 80)])
        assert answer == f"open from {made.here[0]}\n"


def test_names_are_resolved_as_on_the_host():
    nameservers = re.findall(r"^nameserver\s+(\S+)", Path("/etc/resolv.conf").read_text(), re.M)
    inside = re.findall(r"^nameserver\s+(\S+)", sh("cat /etc/resolv.conf"), re.M)
    if any(not server.startswith("127.") for server in nameservers):
        assert set(inside) & set(nameservers)


def test_containers_do_not_reach_each_other():
    events = walls.listen.remote_gen(6)
    address = next(events)
    assert walls.reach_all.remote([(address, 7777)])[0] in (
        "ECONNREFUSED",
        "EHOSTUNREACH",
        "EACCES",
        "ENETUNREACH",
        "ECONNRESET",
    )
    assert next(events) == "nobody came"


def test_a_blocked_network_has_nothing_but_the_loopback():
    facts = walls.blocked.remote()
    assert facts["addresses"] == ["lo:"]
    assert not facts["reach"].startswith("open") and facts["reach"] != "timeout"


# -- nothing is shared ----------------------------------------------------------------------------------


def test_containers_of_one_function_share_no_files():
    def twice(command: str) -> list[tuple[str, str]]:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda i: walls.shell_in_pairs.remote(command.format(i)), range(2)))

    assert len({container for _, container in twice("echo {0} >> /tmp/mark; echo {0} >> /etc/debian_version")}) == 2
    marks = sorted(text for text, _ in twice("cat /tmp/mark; tail -1 /etc/debian_version"))
    assert marks == ["0\n0\n", "1\n1\n"]


# -- a stand-in for the world ---------------------------------------------------------------------------


class listener:
    """Somebody of the host who would answer."""

    def __init__(self, host: str) -> None:
        self.socket = socket.create_server((host, 0))

    def __enter__(self) -> int:
        return int(self.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def host_addresses() -> list[str]:
    """Without those that other tests have for a while (``internet``): a node closes what its host had at its start."""
    text = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=False).stdout
    found = re.findall(r"inet ([\d.]+)", text)
    return [address for address in found if not address.startswith(("127.", internet.ADDRESSES))]
