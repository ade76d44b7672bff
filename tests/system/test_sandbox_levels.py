"""The same promises on each level of isolation that this machine offers; the others are refused, never replaced."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import offered
import windlass
from stage import Stage, until
from windlass import exception

LEVELS = ("container", "gvisor", "vm")
SERVER = "import http.server as h; h.HTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
COUNTS = """
import itertools, time
for n in itertools.count():
    open("/root/n", "w").write(str(n))
    print(n, flush=True)
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def app(stage: Stage) -> windlass.App:
    stage.base()
    return windlass.App.lookup("test-levels", create_if_missing=True)


@pytest.fixture(scope="module", params=LEVELS)
def level(request: Any, app: windlass.App) -> str:
    offered.needed(app, request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(app: windlass.App, level: str) -> Iterator[windlass.Sandbox]:
    volume = windlass.Volume.from_name("levels-" + level, create_if_missing=True)
    made = windlass.Sandbox.create(
        "sh", "-c", "read line; echo got $line; sleep 600", app=app, runtime=level, env={"OWN": "here"}, timeout=600,
        memory=(64, 256), volumes={"/data": volume}, readiness_probe=windlass.Probe.with_tcp(8000),
    )  # fmt: skip
    yield made
    made.terminate(wait=True)


def told(sandbox: windlass.Sandbox, *words: str, **more: Any) -> str:
    return str(sandbox.exec(*words, **more).stdout.read())


def test_commands_have_streams_codes_variables_and_folders(sandbox):
    sandbox.stdin.write("word\n")
    sandbox.stdin.drain()
    assert next(iter(sandbox.stdout)) == "got word\n"
    script = "echo $OWN $MORE $PWD; echo err >&2; cat; exit 3"
    process = sandbox.exec("sh", "-c", script, env={"MORE": "too"}, workdir="/tmp")
    process.stdin.write("fed")
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.stdout.read() == "here too /tmp\nfed" and process.stderr.read() == "err\n" and process.wait() == 3
    assert "24 80" in told(sandbox, "stty", "size", pty=True)
    with pytest.raises(exception.InvalidError, match="no-such-program"):
        sandbox.exec("no-such-program")


def test_files_are_the_same_from_both_sides(sandbox):
    for path in ("/root/from-outside", "/tmp/from-outside"):
        with sandbox.open(path, "w") as file:
            file.write("words")
        assert told(sandbox, "cat", path) == "words"
        assert told(sandbox, "sh", "-c", f"echo more >> {path}; cat {path}") == "wordsmore\n"
        assert sandbox.open(path).read() == "wordsmore\n"
    sandbox.exec("sh", "-c", "ln -s /etc/passwd /root/link; echo kept > /data/file").wait()
    assert "root:x:0:0" in sandbox.open("/root/link").read()
    assert sandbox.open("/data/file").read() == "kept\n"


def test_what_it_writes_to_a_volume_is_committed_while_it_runs(sandbox, level):
    sandbox.exec("sh", "-c", "echo early > /data/early").wait()
    volume = windlass.Volume.from_name("levels-" + level)
    until(lambda: "early" in [entry.path.strip("/") for entry in volume.iterdir("/")], seconds=30)
    assert b"".join(volume.read_file("early")) == b"early\n"


def test_files_of_its_own_kernel_are_not_written_from_outside(sandbox, level):
    if level == "container":
        assert "Linux" in sandbox.filesystem.read_text("/proc/version")
        return
    assert sandbox.filesystem.list_files("/dev") == []
    for path in ("/proc/version", "/dev/shm/file", "/sys/file"):
        with pytest.raises(exception.SandboxFilesystemError):
            sandbox.filesystem.write_text("never seen", path)


def test_what_runs_too_long_is_ended_and_leaves_nothing_behind(sandbox):
    process = sandbox.exec("sleep", "4242", timeout=1)
    assert process.wait() == -1
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; done"
    until(lambda: "4242" not in told(sandbox, "sh", "-c", script), seconds=30)


def test_names_are_resolved_and_a_port_answers(sandbox):
    assert "localhost" in told(sandbox, "cat", "/etc/hosts")
    sandbox.exec("python3", "-c", SERVER)
    sandbox.wait_until_ready(timeout=60)
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000').status)"
    assert told(sandbox, "python3", "-c", script) == "200\n"


def test_more_memory_than_the_limit_ends_it_and_says_why(app, level):
    hungry = "x = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"
    made = windlass.Sandbox.create("python3", "-c", hungry, app=app, runtime=level, memory=(64, 128))
    made.wait(raise_on_termination=False)
    assert made.returncode not in (0, None)
    assert level != "vm" or made.returncode == 137


def test_its_own_command_that_is_not_there_is_told(app, level):
    made = windlass.Sandbox.create("no-such-program", app=app, runtime=level)
    with pytest.raises(exception.ExecutionError, match=r"no-such-program|no such file"):
        made.wait()


def test_no_network_is_none_and_a_timeout_ends_it(app, level):
    made = windlass.Sandbox.create("sleep", "600", app=app, runtime=level, block_network=True, timeout=600)
    script = "import socket\ntry: socket.create_connection(('1.1.1.1', 53), 1)\nexcept OSError as e: print('held')"
    assert told(made, "python3", "-c", script) == "held\n"
    made.terminate()
    made = windlass.Sandbox.create("sleep", "600", app=app, runtime=level, timeout=2)
    with pytest.raises(exception.SandboxTimeoutError):
        made.wait()


def test_a_snapshot_of_its_files_is_an_image(app, sandbox, level):
    sandbox.exec("sh", "-c", "echo inside > /root/snap").wait()
    image = sandbox.snapshot_filesystem()
    made = windlass.Sandbox.create("cat", "/root/snap", app=app, image=image, runtime=level)
    made.wait()
    assert made.stdout.read() == "inside\n"


def test_gvisor_is_another_kernel(app):
    offered.needed(app, "gvisor")
    made = windlass.Sandbox.create("dmesg", app=app, runtime="gvisor")
    made.wait()
    assert "gVisor" in made.stdout.read()


def test_a_virtual_machine_is_another_kernel_with_its_own_memory_and_processors(app):
    offered.needed(app, "vm")
    made = windlass.Sandbox.create(app=app, runtime="vm", memory=(64, 256), cpu=(0.5, 1.0), timeout=600)
    kernel, processors, size = told(made, "sh", "-c", "uname -v; nproc; grep MemTotal /proc/meminfo").splitlines()
    assert kernel != os.uname().version and processors == "1"
    assert 128 * 1024 < int(size.split()[1]) <= 256 * 1024
    with pytest.raises(exception.UnimplementedError):
        made.reload_volumes()
    made.terminate(wait=True)


def test_an_image_is_mounted_in_a_virtual_machine_that_runs_and_taken_away_again(app):
    offered.needed(app, "vm")
    made = windlass.Sandbox.create(app=app, runtime="vm", memory=256, timeout=600)
    script = "mkdir -p /opt/tools /mnt/under; echo tool > /opt/tools/tool; echo below > /mnt/under/f; ls /mnt/under"
    assert told(made, "sh", "-c", script) == "f\n"
    made.mount_image("/mnt/under", made.snapshot_directory("/opt/tools"))
    script = "cat /mnt/under/tool; echo more > /mnt/under/new; ls /mnt/under"
    assert told(made, "sh", "-c", script) == "tool\nnew\ntool\n"
    assert made.open("/mnt/under/new").read() == "more\n"
    made.unmount_image("/mnt/under")
    assert told(made, "sh", "-c", "ls /mnt/under; ls /opt/tools") == "f\ntool\n"
    made.terminate(wait=True)


def test_a_virtual_machine_has_what_containers_have_over_their_files(app):
    offered.needed(app, "vm")
    made = windlass.Sandbox.create(app=app, runtime="vm", memory=256, timeout=600)
    script = """
    ls -d /dev/null /dev/shm /dev/pts /proc/self /sys/kernel && echo x > /dev/shm/f && cat /dev/shm/f
    (echo 1 > /proc/sys/kernel/sysrq) 2>/dev/null || echo held
    grep -e NoNewPrivs -e Seccomp: /proc/self/status
    hostname; mount -t tmpfs none /mnt 2>/dev/null || echo held
    """
    said = told(made, "sh", "-c", script).split()
    assert "/dev/pts" in said and "/sys/kernel" in said and "x" in said
    assert said.count("held") == 2 and said[said.index("NoNewPrivs:") + 1] == "1"
    assert said[said.index("Seccomp:") + 1] == "2"
    made.terminate(wait=True)


def test_a_terminal_in_a_virtual_machine_has_lines_a_size_and_signals(app):
    offered.needed(app, "vm")
    made = windlass.Sandbox.create(app=app, runtime="vm", memory=256, timeout=600)
    script = "trap 'stty size; exit 7' INT; stty size; read word; echo got $word; while :; do sleep 0.2; done"
    process = made.exec("sh", "-c", script, pty=True)
    shown = iter(process.stdout)
    assert any("24 80" in piece for piece in shown)
    process.stdin.write("typed\n")
    process.stdin.drain()
    assert any("got typed" in piece for piece in shown)
    process.resize(30, 100)
    process.stdin.write("\x03")  # the line discipline inside makes a signal of it
    process.stdin.drain()
    assert process.wait() == 7
    assert "30 100" in process.stdout.read()
    made.terminate(wait=True)


def test_memory_goes_on_where_it_was(app):
    offered.needed(app, "gvisor")
    first = windlass.Sandbox.create(
        "python3", "-c", COUNTS, app=app, timeout=600, name="counts", _experimental_enable_snapshot=True
    )
    assert next(line for line in first.stdout if int(line) >= 5)
    waiting = first.exec("cat")
    with pytest.raises(exception.ConflictError, match="commands run"):
        first._experimental_snapshot()
    waiting.stdin.write_eof()
    waiting.stdin.drain()
    waiting.wait()
    snapshot = None

    def taken() -> bool:
        nonlocal snapshot
        try:
            snapshot = first._experimental_snapshot()
        except exception.ConflictError:
            return False
        return True

    until(taken, seconds=20)
    assert first.wait(raise_on_termination=False) is None and first.returncode is not None
    again = windlass.Sandbox._experimental_from_snapshot(windlass.SandboxSnapshot.from_id(snapshot.object_id))
    began = int(next(iter(again.stdout)))
    assert began > 5, "it began anew"
    text = until(lambda: again.open("/root/n").read())  # empty for the moment in which it is written anew
    assert int(text) >= began
    assert windlass.Sandbox.from_name("test-levels", "counts").object_id == again.object_id
    with pytest.raises(exception.AlreadyExistsError):
        windlass.Sandbox._experimental_from_snapshot(snapshot)
    other = windlass.Sandbox._experimental_from_snapshot(snapshot, name=None)
    assert int(next(iter(other.stdout))) == began
    again.terminate()
    other.terminate()


def test_memory_of_another_sandbox_is_refused(app):
    plain = windlass.Sandbox.create("sleep", "60", app=app)
    with pytest.raises(exception.InvalidError, match="not made for memory snapshots"):
        plain._experimental_snapshot()
    plain.terminate()
    with pytest.raises(exception.NotFoundError):
        windlass.SandboxSnapshot.from_id("sn-0000000000000000000000")
    with pytest.raises(exception.InvalidError):
        windlass.Sandbox.create(app=app, runtime="container", _experimental_enable_snapshot=True)


def test_a_level_that_is_not_here_is_refused_with_its_reason(app):
    for name, reason in (("gvisor", "runsc"), ("vm", "qemu|virtiofsd|kvm|kernel")):
        try:
            windlass.Sandbox.create("true", app=app, runtime=name).wait()
        except exception.UnimplementedError as exc:
            assert re.search(reason, str(exc)) and exc.hint
    with pytest.raises(exception.InvalidError):
        windlass.Sandbox.create("true", app=app, runtime="none")


def test_the_doctor_says_which_levels_there_are(stage, app):
    done = subprocess.run(
        [sys.executable, "-m", "windlass.cli", "doctor", "--json"], capture_output=True, text=True, check=False,
        env={**os.environ, "WINDLASS_HOME": str(stage.home)},
    )  # fmt: skip
    found = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    machine = found['sandboxes, runtime="vm"']
    assert machine["detail"].startswith("works") or ("not here" in machine["detail"] and "qemu" in machine["remedy"])
    assert found['sandboxes, runtime="container"']["detail"] == "works"
    gvisor, memory = found['sandboxes, runtime="gvisor"'], found["sandboxes, memory snapshots"]
    assert gvisor["detail"].startswith("works") == memory["detail"].startswith("works")
