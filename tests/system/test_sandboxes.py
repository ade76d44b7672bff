"""Sandboxes on a real platform, with real containers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import windlass
from stage import Stage, until
from windlass import exception, file_io, paths, stream_type

BUSYBOX = "/bin/busybox"


@pytest.fixture(scope="module")
def app(stage: Stage) -> windlass.App:
    stage.base()
    return windlass.App.lookup("test-sandboxes", create_if_missing=True)


@pytest.fixture(scope="module")
def shared(app: windlass.App) -> Iterator[windlass.Sandbox]:
    """One sandbox for tests that do not disturb it."""
    sandbox = windlass.Sandbox.create(app=app, timeout=600, env={"OWN": "here"})
    yield sandbox
    sandbox.terminate(wait=True)


def told(sandbox: windlass.Sandbox, *words: str, **more: Any) -> str:
    return str(sandbox.exec(*words, **more).stdout.read())


# -- life --------------------------------------------------------------------------------------------------------


def test_the_command_of_a_sandbox_runs_and_its_streams_and_exit_code_can_be_read(app):
    script = "echo out; echo err >&2; read line; echo got $line; exit 3"
    sandbox = windlass.Sandbox.create("sh", "-c", script, app=app)
    assert sandbox.poll() is None and sandbox.returncode is None
    sandbox.stdin.write("word\n")
    sandbox.stdin.drain()
    sandbox.wait()
    assert sandbox.returncode == 3
    assert sandbox.stdout.read() == "out\ngot word\n" and sandbox.stderr.read() == "err\n"
    assert list(sandbox.stdout) == ["out\n", "got word\n"]


def test_the_input_of_a_sandbox_ends_with_its_end(app):
    sandbox = windlass.Sandbox.create("sh", "-c", "cat; echo over", app=app)
    sandbox.stdin.write(b"a\nb\n")
    sandbox.stdin.write_eof()
    sandbox.stdin.drain()
    sandbox.wait()
    assert sandbox.stdout.read() == "a\nb\nover\n"
    with pytest.raises(ValueError):
        sandbox.stdin.write("more")


def test_a_sandbox_whose_time_is_over_ends_with_124(app):
    sandbox = windlass.Sandbox.create("sleep", "100", app=app, timeout=1)
    with pytest.raises(exception.SandboxTimeoutError):
        sandbox.wait()
    assert sandbox.returncode == 124 and sandbox.poll() == 124


def test_a_terminated_sandbox_ends_with_137_and_terminating_again_is_harmless(app):
    sandbox = windlass.Sandbox.create(app=app)
    assert sandbox.terminate(wait=True) == 137
    assert sandbox.terminate() is None
    with pytest.raises(exception.SandboxTerminatedError):
        sandbox.wait()
    sandbox.wait(raise_on_termination=False)
    with pytest.raises(exception.ConflictError):
        sandbox.exec("true")
    with pytest.raises(exception.NotFoundError):
        sandbox.filesystem.read_bytes("/etc/hosts")
    with pytest.raises(exception.NotFoundError):
        list(sandbox.filesystem.watch("/etc", timeout=1))


def test_a_command_that_meets_the_end_of_its_sandbox_is_a_conflict(app):
    """Whenever it comes: before, while or after the sandbox is killed."""
    refused = 0
    for turn in range(16):
        sandbox = windlass.Sandbox.create(app=app)
        assert sandbox.exec("true").wait() == 0
        sandbox.terminate()
        time.sleep(turn % 4 * 0.005)
        for _ in range(3):
            try:
                sandbox.exec("true").wait()
            except exception.ConflictError as exc:
                assert "finished" in str(exc) or "does not run" in str(exc)
                refused += 1
    assert refused


def test_an_idle_sandbox_ends_but_not_while_a_command_runs(app):
    sandbox = windlass.Sandbox.create(app=app, idle_timeout=2)
    process = sandbox.exec("sleep", "4")
    assert process.wait() == 0, "the command was cut off"
    with pytest.raises(exception.SandboxTerminatedError, match="idle"):
        sandbox.wait()


def test_a_sandbox_is_found_by_its_id_and_its_name_and_its_tags(app):
    name, mark = f"name-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    sandbox = windlass.Sandbox.create(app=app, name=name, tags={"mark": mark, "kind": "a"})
    assert windlass.Sandbox.from_id(sandbox.object_id).object_id == sandbox.object_id
    assert windlass.Sandbox.from_name("test-sandboxes", name).object_id == sandbox.object_id
    with pytest.raises(exception.AlreadyExistsError):
        windlass.Sandbox.create(app=app, name=name)
    found = [one.object_id for one in windlass.Sandbox.list(app_id=app.app_id, tags={"mark": mark})]
    assert found == [sandbox.object_id]
    assert not list(windlass.Sandbox.list(tags={"mark": mark, "kind": "b"}))
    sandbox.set_tags({"mark": mark})
    assert sandbox.get_tags() == {"mark": mark}
    sandbox.terminate(wait=True)
    with pytest.raises(exception.NotFoundError):
        windlass.Sandbox.from_name("test-sandboxes", name)
    again = windlass.Sandbox.from_name("test-sandboxes", name, include_terminated=True)
    assert again.returncode == 137
    windlass.Sandbox.create(app=app, name=name).terminate()


def test_a_sandbox_belongs_to_its_app_and_ends_with_it(stage):
    app = windlass.App("test-sandboxes-owner")
    with app.run():
        sandbox = windlass.Sandbox.create(app=app)
        assert told(sandbox, "echo", "x") == "x\n"
    with pytest.raises(exception.SandboxTerminatedError, match="app"):
        sandbox.wait()


def test_a_sandbox_outlives_the_server_and_the_worker_and_goes_on_being_used(stage, app):
    sandbox = windlass.Sandbox.create("sh", "-c", "read a; echo first $a; read b; echo second $b", app=app)
    sandbox.stdin.write("1\n")
    sandbox.stdin.drain()
    assert next(iter(sandbox.stdout)) == "first 1\n"
    stage.kill("server")
    assert told(sandbox, "echo", "still here") == "still here\n"
    stage.kill("worker")
    until(lambda: _tried(lambda: told(sandbox, "echo", "still here")), what="a command in the adopted sandbox")
    sandbox.stdin.write("2\n")
    sandbox.stdin.drain()
    sandbox.wait()
    assert sandbox.stdout.read() == "first 1\nsecond 2\n"


def test_commands_outlive_the_worker_with_all_that_they_write_and_read(stage, app):
    sandbox = windlass.Sandbox.create(app=app, timeout=600)
    over = sandbox.exec("sh", "-c", "echo it was; exit 3")
    assert over.wait() == 3
    talk = sandbox.exec("sh", "-c", "while read line; do echo got $line; done; exit 7", bufsize=1)
    count = sandbox.exec("sh", "-c", "for n in $(seq 120); do echo $n; sleep 0.05; done")
    late = sandbox.exec("sleep", "600", timeout=8)
    terminal = sandbox.exec("sh", "-c", "read line; stty size", pty=True)
    talk.stdin.write("one\n")
    talk.stdin.drain()
    assert next(iter(talk.stdout)) == "got one\n"
    stage.kill("worker")
    talk.stdin.write("two\n")
    talk.stdin.write_eof()
    talk.stdin.drain()
    terminal.resize(33, 44)
    terminal.stdin.write("\n")
    terminal.stdin.drain()
    assert talk.stdout.read() == "got two\n" and talk.wait() == 7
    assert count.stdout.read() == "".join(f"{n}\n" for n in range(1, 121)) and count.wait() == 0
    assert over.stdout.read() == "it was\n"
    assert "33 44" in terminal.stdout.read()
    assert late.wait() == -1
    stage.kill("worker")
    assert sandbox.exec("echo", "again").stdout.read() == "again\n"
    sandbox.terminate()


def test_the_death_of_their_starter_ends_sandboxes_and_commands_at_once_and_others_can_be_made(stage, app):
    sandbox = windlass.Sandbox.create(app=app, timeout=600)
    process = sandbox.exec("sleep", "600")
    os.kill(_starter(stage), signal.SIGKILL)
    assert process.wait() == 137
    until(lambda: sandbox.poll() is not None, what="its end")
    with pytest.raises(exception.ConflictError):
        sandbox.exec("true")
    another = windlass.Sandbox.create(app=app)
    assert told(another, "echo", "here") == "here\n"
    another.terminate()


def _starter(stage: Stage) -> int:
    """The process that starts what is started now: the youngest. Those that it has forked have its words, too."""
    own, found = os.fsencode(paths.run(stage.home) / "starters") + b"/", {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().split(b"\0")
                if b"windlass.worker.sandboxes.starter" in line and any(word.startswith(own) for word in line):
                    words = (entry / "stat").read_text().rpartition(")")[2].split()
                    found[int(entry.name)] = int(words[1]), int(words[19])  # its parent, and when it began
    return max((began, pid) for pid, (parent, began) in found.items() if parent not in found)[1]


def test_the_terminal_of_its_own_command_has_the_size_that_it_is_given(app):
    sandbox = windlass.Sandbox.create("sh", "-c", "stty size; read line; stty size", app=app, pty=True)
    assert next(iter(sandbox.stdout)).strip() == "24 80"
    with pytest.raises(exception.InvalidError):
        sandbox.resize(0, 80)
    sandbox.resize(40, 123)
    sandbox.stdin.write("\n")
    sandbox.stdin.drain()
    sandbox.wait()
    assert "40 123" in sandbox.stdout.read()


def _tried(act: Any) -> Any:
    try:
        return act()
    except exception.Error:
        return None


def test_asynchronous_programs_use_the_same_methods(app):
    async def all_of_it() -> tuple[str, int, list[str]]:
        sandbox = await windlass.Sandbox.create.aio(app=app)
        process = await sandbox.exec.aio("sh", "-c", "echo a; echo b", bufsize=1)
        lines = [line async for line in process.stdout]
        code = await process.wait.aio()
        again = await sandbox.exec.aio("cat")
        again.stdin.write("through")
        again.stdin.write_eof()
        await again.stdin.drain.aio()
        text = await again.stdout.read.aio()
        await sandbox.terminate.aio()
        return text, code, lines

    assert asyncio.run(all_of_it()) == ("through", 0, ["a\n", "b\n"])


def test_an_image_without_python_and_without_a_shell_runs_and_has_files(app, tmp_path):
    if not Path(BUSYBOX).exists():
        pytest.skip("busybox-static is not installed")
    image = windlass.Image.from_scratch().add_local_file(BUSYBOX, "/busybox", copy=True)
    sandbox = windlass.Sandbox.create("/busybox", "sleep", "60", app=app, image=image)
    assert told(sandbox, "/busybox", "echo", "tiny") == "tiny\n"
    sandbox.filesystem.write_text("text", "/deep/in/file")
    assert told(sandbox, "/busybox", "cat", "/deep/in/file") == "text"
    assert sandbox.filesystem.read_text("/deep/in/file") == "text"
    sandbox.terminate()
    nothing = windlass.Sandbox.create(app=app, image=image)
    with pytest.raises(exception.ExecutionError, match="no command"):
        nothing.wait()


def test_a_command_that_does_not_exist_is_named_with_the_next_step(app):
    sandbox = windlass.Sandbox.create("no-such-program -v", app=app)
    with pytest.raises(exception.ExecutionError, match="no-such-program -v: No such file") as caught:
        sandbox.wait()
    assert "'sh', '-c'" in caught.value.hint and sandbox.returncode == 137


def test_a_sandbox_is_ready_when_its_probe_says_so(app):
    script = "read line; touch /ready; exec sleep 100"
    sandbox = windlass.Sandbox.create(
        "sh", "-c", script, app=app, readiness_probe=windlass.Probe.with_exec("test", "-e", "/ready")
    )
    with pytest.raises(exception.TimeoutError):
        sandbox.wait_until_ready(timeout=0.2)
    sandbox.stdin.write("\n")
    sandbox.stdin.drain()
    sandbox.wait_until_ready(timeout=30)
    sandbox.terminate()
    server = windlass.Sandbox.create(
        "python3", "-m", "http.server", "8000", app=app, readiness_probe=windlass.Probe.with_tcp(8000)
    )
    server.wait_until_ready(timeout=30)
    server.terminate(wait=True)
    with pytest.raises(exception.ConflictError):
        windlass.Sandbox.from_id(server.object_id).exec("true")


def test_without_a_probe_nobody_waits_for_readiness(shared):
    with pytest.raises(exception.ConflictError, match="probe"):
        shared.wait_until_ready()
    with pytest.raises(exception.InvalidError):
        shared.wait_until_ready(timeout=0)


def test_a_detached_handle_is_not_used_any_more(app):
    sandbox = windlass.Sandbox.create("true", app=app)
    sandbox.detach()
    for act in (lambda: sandbox.exec("true"), sandbox.poll, sandbox.terminate):
        with pytest.raises(exception.ClientClosed):
            act()
    sandbox.wait()
    assert sandbox.returncode == 0


def test_a_burst_of_sandboxes_all_come_up(app):
    async def burst() -> list[str]:
        async def one() -> str:
            sandbox = await windlass.Sandbox.create.aio(app=app)
            text: str = await (await sandbox.exec.aio("echo", "up")).stdout.read.aio()
            await sandbox.terminate.aio()
            return text

        return await asyncio.gather(*(one() for _ in range(20)))

    assert asyncio.run(burst()) == ["up\n"] * 20


def test_a_volume_in_a_sandbox_keeps_what_was_written(app):
    with windlass.Volume.ephemeral() as volume:
        sandbox = windlass.Sandbox.create("sh", "-c", "echo kept > /data/file", app=app, volumes={"/data": volume})
        sandbox.wait()
        assert sandbox.returncode == 0
        until(lambda: b"".join(volume.read_file("file")) == b"kept\n" if volume.listdir("/") else False)


def test_memory_beyond_the_limit_ends_the_sandbox(app):
    eat = "x = bytearray(1); [x.extend(bytes(1 << 20)) for _ in range(4096)]"
    sandbox = windlass.Sandbox.create("python3", "-c", eat, app=app, memory=(64, 128))
    sandbox.wait()
    assert sandbox.returncode == 137


# -- commands ----------------------------------------------------------------------------------------------------


def test_commands_see_environment_and_folder_and_user(shared):
    assert told(shared, "sh", "-c", "echo $OWN $MORE; pwd; id -u", env={"MORE": "too"}, workdir="/tmp") == (
        "here too\n/tmp\n0\n"
    )
    secret = windlass.Secret.from_dict({"TOKEN": "t0k"})
    assert told(shared, "sh", "-c", "echo $TOKEN", secrets=[secret]) == "t0k\n"


def test_exit_codes_and_signals_come_back_as_a_shell_says_them(shared):
    process = shared.exec("sh", "-c", "exit 7")
    with pytest.raises(exception.InvalidError):
        assert process.returncode
    assert process.wait() == 7 and process.returncode == 7 and process.poll() == 7
    assert shared.exec("sh", "-c", "kill -TERM $$").wait() == 128 + signal.SIGTERM


def test_a_command_that_runs_out_of_time_ends_with_minus_one(shared):
    process = shared.exec("sh", "-c", "echo begun; sleep 100 & sleep 100", timeout=1)
    assert process.wait() == -1
    assert process.stdout.read() == "begun\n"


def test_bytes_come_and_go_as_they_are(shared):
    data = bytes(range(256)) * 4096
    process = shared.exec("cat", text=False)
    process.stdin.write(data)
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.stdout.read() == data
    binary = shared.exec("head", "-c", "1", "/proc/self/exe")
    assert binary.wait() == 0
    with pytest.raises(UnicodeDecodeError):
        shared.exec("printf", "\\377\\376").stdout.read()


def test_large_output_arrives_whole_and_a_reader_that_comes_late_loses_nothing(shared):
    count = 48 * 1024 * 1024
    process = shared.exec("sh", "-c", f"head -c {count} /dev/zero; echo end >&2", text=False)
    assert process.wait() == 0, "it waited although there was room"
    size = sum(len(piece) for piece in process.stdout)
    assert size == count and process.stderr.read() == b"end\n"


def test_a_flood_that_nobody_reads_waits_and_ends_with_the_sandbox(app):
    sandbox = windlass.Sandbox.create(app=app)
    process = sandbox.exec("cat", "/dev/zero", text=False)
    time.sleep(0.5)  # the flood shall have begun; what is proved is below
    assert process.poll() is None
    assert told(sandbox, "echo", "alive") == "alive\n"
    sandbox.terminate(wait=True)
    assert process.wait() == 137


def test_output_can_be_printed_dropped_or_read_by_line(shared, capfd):
    process = shared.exec("sh", "-c", "echo shown; echo dropped >&2", stdout=stream_type.StreamType.STDOUT,
                          stderr=stream_type.StreamType.DEVNULL)  # fmt: skip
    assert process.wait() == 0 and "shown" in capfd.readouterr().out
    with pytest.raises(exception.InvalidError):
        process.stdout.read()
    with pytest.raises(ValueError):
        process.stderr.read()
    lines = list(shared.exec("printf", "a\\nb\\nlast", bufsize=1).stdout)
    assert lines == ["a\n", "b\n", "last"]
    with pytest.raises(ValueError):
        shared.exec("true", text=False, bufsize=1)


def test_a_terminal_is_one(shared):
    process = shared.exec("sh", "-c", "tty && stty size && echo $TERM", pty=True)
    out = process.stdout.read()
    assert out.startswith("/dev/pts/") and "24 80" in out and "xterm" in out
    assert process.wait() == 0


def test_children_that_hold_the_output_do_not_keep_its_reader_waiting(shared):
    process = shared.exec("sh", "-c", "sleep 30 & echo done")
    began = time.monotonic()
    assert process.stdout.read() == "done\n" and time.monotonic() - began < 15


@pytest.mark.parametrize("words", [(), ("/no/such",), ("x" * 70_000,), (1,), ("a\0b",), ("/etc",)])
def test_commands_that_cannot_be_are_refused(shared, words):
    with pytest.raises(exception.InvalidError):
        shared.exec(*words)


def test_a_command_that_is_stopped_on_its_way_holds_up_no_other_sandbox(app, shared):
    """What runs in a sandbox may send signals to a command that is being begun there."""
    hostile = windlass.Sandbox.create(app=app)
    storm = "while :; do kill -s STOP -- -1; done"
    hostile.exec("sh", "-c", storm, stdout=stream_type.StreamType.DEVNULL)
    tries = [threading.Thread(target=lambda: _quietly(hostile), daemon=True) for _ in range(10)]
    for one in tries:
        one.start()
    assert [shared.exec("true", timeout=20).wait() for _ in range(20)] == [0] * 20
    hostile.terminate(wait=True)


def _quietly(sandbox: windlass.Sandbox) -> None:
    with contextlib.suppress(exception.Error):
        sandbox.exec("true").wait()


def test_a_folder_that_is_not_there_is_refused(shared):
    with pytest.raises(exception.InvalidError, match="/nowhere"):
        shared.exec("true", workdir="/nowhere")
    with pytest.raises(exception.InvalidError):
        shared.exec("true", workdir="relative")


# -- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"name": "a/b"}, exception.InvalidError),
        ({"name": "x" * 64}, exception.InvalidError),
        ({"tags": {"a": 1}}, exception.InvalidError),
        ({"workdir": "here"}, exception.InvalidError),
        ({"timeout": 0}, exception.InvalidError),
        ({"timeout": 86401}, exception.InvalidError),
        ({"idle_timeout": -1}, exception.InvalidError),
        ({"gpu": ["T4"]}, exception.InvalidError),
        ({"gpu": "T4:8"}, exception.InvalidError),
        ({"runtime": "vm"}, exception.UnimplementedError),
        ({"runtime": "jail"}, exception.InvalidError),
        ({"encrypted_ports": [0]}, exception.InvalidError),
        ({"block_network": True, "encrypted_ports": [80]}, exception.InvalidError),
        ({"outbound_domain_allowlist": ["https://example.com"]}, exception.InvalidError),
        ({"outbound_cidr_allowlist": ["10.0.0.1/8"]}, exception.InvalidError),
        ({"block_network": True, "outbound_cidr_allowlist": []}, exception.InvalidError),
        ({"proxy": object()}, exception.InvalidError),
        ({"memory": 1 << 40}, exception.InvalidError),
        ({"cpu": -1}, exception.InvalidError),
        ({"readiness_probe": "yes"}, exception.InvalidError),
        ({"image": "debian"}, exception.InvalidError),
        ({"volumes": {"relative": None}}, exception.InvalidError),
    ],
)
def test_arguments_that_cannot_be_are_refused(app, asked, error):
    with pytest.raises(error):
        windlass.Sandbox.create(app=app, **asked)


def test_a_sandbox_needs_an_app_that_has_been(stage):
    with pytest.raises(exception.InvalidError):
        windlass.Sandbox.create()
    with pytest.raises(ValueError):
        windlass.Sandbox.create(app=windlass.App("never-run"))


def test_ids_that_nobody_has_are_not_found(stage):
    with pytest.raises(exception.NotFoundError):
        windlass.Sandbox.from_id("sb-nonsense")
    with pytest.raises(exception.NotFoundError):
        windlass.Sandbox.from_id("sb-" + "a" * 22)
    with pytest.raises(exception.NotFoundError):
        windlass.Sandbox.from_name("test-sandboxes", "nobody")


# -- files -------------------------------------------------------------------------------------------------------


def test_files_are_written_read_listed_and_removed(shared, tmp_path):
    files = shared.filesystem
    files.write_bytes(b"\0\1", "/job/a/one")
    files.write_text("zwei\u00fc", "/job/a/two")
    assert files.read_bytes("/job/a/one") == b"\0\1" and files.read_text("/job/a/two") == "zwei\u00fc"
    shared.exec("ln", "-s", "one", "/job/a/link").wait()
    found = files.list_files("/job/a")
    assert [(one.name, one.type, one.symlink_target) for one in found] == [
        ("link", "symlink", "one"), ("one", "file", None), ("two", "file", None)
    ]  # fmt: skip
    assert found[1].size == 2 and found[1].owner == "0" and found[1].permissions == "-rw-r--r--"
    assert files.stat("/job/a/link").is_symlink() and files.stat("/job").is_dir()
    assert files.read_bytes("/job/a/link") == b"\0\1"
    with pytest.raises(exception.SandboxFilesystemDirectoryNotEmptyError):
        files.remove("/job/a")
    files.remove("/job/a", recursive=True)
    with pytest.raises(exception.SandboxFilesystemNotFoundError):
        files.stat("/job/a")
    local = tmp_path / "local"
    local.write_bytes(b"z" * 9_000_000)
    files.copy_from_local(local, "/job/copied")
    files.copy_to_local("/job/copied", tmp_path / "new/back")
    assert (tmp_path / "new/back").read_bytes() == local.read_bytes()


def test_directories_are_made_as_asked(shared):
    files = shared.filesystem
    files.make_directory("/made/of/three")
    files.make_directory("/made/of/three")
    with pytest.raises(exception.SandboxFilesystemPathAlreadyExistsError):
        files.make_directory("/made/of/three", create_parents=False)
    with pytest.raises(exception.SandboxFilesystemNotFoundError):
        files.make_directory("/made/without/above", create_parents=False)
    assert told(shared, "stat", "-c", "%u:%g %a", "/made/of/three") == "0:0 755\n"


def test_what_is_wrong_with_a_path_is_said(shared):
    files = shared.filesystem
    with pytest.raises(exception.InvalidError):
        files.read_bytes("relative")
    with pytest.raises(exception.SandboxFilesystemIsADirectoryError):
        files.read_bytes("/etc")
    with pytest.raises(exception.SandboxFilesystemIsADirectoryError):
        files.write_bytes(b"", "/etc")
    with pytest.raises(exception.SandboxFilesystemNotADirectoryError):
        files.list_files("/etc/passwd")
    with pytest.raises(exception.SandboxFilesystemNotADirectoryError):
        files.read_bytes("/etc/passwd/x")
    with pytest.raises(TypeError):
        files.write_bytes("text", "/tmp/x")
    with pytest.raises(TypeError):
        files.write_text(b"bytes", "/tmp/x")
    for device in ("/dev/zero", "/dev/ptmx"):
        with pytest.raises(exception.SandboxFilesystemError, match="not a file"):
            files.read_bytes(device)
    shared.exec("mkfifo", "/tmp/pipe").wait()
    with pytest.raises(exception.SandboxFilesystemError, match="not a file"):
        files.read_bytes("/tmp/pipe")
    with pytest.raises(exception.SandboxFilesystemPermissionError):
        files.write_bytes(b"1", "/proc/sys/kernel/hostname")
    shared.exec("sh", "-c", "truncate -s 6G /tmp/huge").wait()
    with pytest.raises(exception.SandboxFilesystemFileTooLargeError):
        files.read_bytes("/tmp/huge")


def test_files_opened_as_python_opens_them_behave_so(shared):
    with shared.open("/tmp/io.txt", "w") as file:
        file.write("one\ntwo\n")
    with shared.open("/tmp/io.txt", "a") as file:
        file.write("three")
    with shared.open("/tmp/io.txt") as file:
        assert file.readline() == "one\n" and file.readlines() == ["two\n", "three"]
        file.seek(4)
        assert file.read(3) == "two"
        with pytest.raises(OSError):
            file.write("no")
    with shared.open("/tmp/io.txt", "rb+") as file:
        file.seek(-5, 2)
        file.write(b"THREE")
        file.seek(0)
        assert file.read() == b"one\ntwo\nTHREE"
    with pytest.raises(ValueError):
        file.read()
    with pytest.raises(FileExistsError):
        shared.open("/tmp/io.txt", "x")
    with pytest.raises(FileNotFoundError):
        shared.open("/tmp/none")
    with pytest.raises(IsADirectoryError):
        shared.open("/tmp", "w")
    with pytest.raises(ValueError):
        shared.open("/tmp/io.txt", "rw")
    shared.mkdir("/tmp/d/e", parents=True)
    assert "e" in shared.ls("/tmp/d")
    shared.rm("/tmp/d", recursive=True)
    with pytest.raises(FileNotFoundError):
        shared.ls("/tmp/d")


def test_the_old_members_of_files_do_what_those_of_sandboxes_do(shared):
    where = (None, shared.object_id)
    file_io.FileIO.mkdir("/old/one", *where, parents=True)
    with file_io.FileIO.create("/old/one/file", "w", *where) as file:
        file.write("text")
    assert file_io.FileIO.ls("/old/one", *where) == ["file"]
    watching = file_io.FileIO.watch("/old/one", *where, timeout=5)
    seen = threading.Thread(target=lambda: found.extend(next(iter(watching)).paths))
    found: list[str] = []
    seen.start()
    for number in range(50):
        shared.exec("touch", f"/old/one/{number}").wait()
        seen.join(0.1)
        if found:
            break
    assert found
    file_io.FileIO.rm("/old", *where, recursive=True)
    with pytest.raises(FileNotFoundError):
        file_io.FileIO.ls("/old", *where)


def test_changes_of_files_are_seen(shared):
    from windlass import file_io

    shared.filesystem.make_directory("/seen/deep")

    async def watch() -> list[Any]:
        seen = []
        events = shared.filesystem.watch.aio("/seen", recursive=True, timeout=30)
        script = "cd /seen/deep; for n in $(seq 60); do echo x > f; mv f g; rm g; sleep 0.3; done"
        await shared.exec.aio("sh", "-c", script)  # again and again: nobody knows when the watch begins
        async for event in events:
            seen.append(event)
            kinds = [event.type for event in seen]
            if file_io.FileWatchEventType.Create in kinds and event.type == file_io.FileWatchEventType.Remove:
                break
        return seen

    seen = asyncio.run(watch())
    assert file_io.FileWatchEventType.Create in {event.type for event in seen}
    assert ["/seen/deep/f", "/seen/deep/g"] in [event.paths for event in seen]


def test_links_and_races_of_links_never_lead_out_of_the_sandbox(shared):
    files = shared.filesystem
    host = Path(f"/tmp/windlass-test-outside-{uuid.uuid4().hex}")
    host.write_text("host")
    try:
        shared.exec("sh", "-c", f"ln -s {host} /tmp/out; ln -s /../../../..{host} /tmp/out2; ln -s / /tmp/root").wait()
        for path in ("/tmp/out", "/tmp/out2", f"/tmp/root/../..{host}", f"/../..{host}", "/proc/1/root/nothing"):
            with pytest.raises(exception.SandboxFilesystemError):
                files.read_bytes(path)
        race = "while :; do ln -sfn / /race; rm -f /race; mkdir -p /race/tmp; rmdir /race/tmp /race; done"
        racing = shared.exec("sh", "-c", race, timeout=5)
        name = f"/race/tmp/{host.name}"
        while racing.poll() is None:
            for act in (lambda: files.read_bytes(name), lambda: files.write_bytes(b"x", name)):
                try:
                    assert act() in (None, b"x")
                except exception.SandboxFilesystemError:
                    pass
        assert host.read_text() == "host"
    finally:
        host.unlink()


def test_nothing_of_the_platform_is_inside(shared):
    assert "/__windlass" not in told(shared, "sh", "-c", "ls -d /__*; env; cat /proc/mounts")
    descriptors = told(shared, "sh", "-c", "ls /proc/$$/fd").split()
    assert set(descriptors) <= {"0", "1", "2", "10", "255"}, descriptors
    assert os.path.basename(os.environ["WINDLASS_HOME"]) not in told(shared, "cat", "/proc/self/environ")


def test_a_function_runs_code_in_sandboxes_of_images_that_nobody_built_before(stage):
    stage.base()
    app, mark = windlass.App("test-sandboxes-of-functions"), uuid.uuid4().hex

    @app.function(serialized=True)
    def answer(code: str) -> tuple[str, int, str]:
        import windlass as inside

        sandbox = inside.Sandbox.create(timeout=60, block_network=True)
        process = sandbox.exec("python3", "-c", code)
        said = process.stdout.read()
        image = inside.Image.debian_slim().run_commands(f"echo {mark} > /mark").build()
        other = inside.App.lookup(f"test-{mark}", create_if_missing=True)
        reading = inside.Sandbox.create("cat", "/mark", app=other, image=image)
        reading.wait()
        return said, process.wait(), "".join(entry.message for entry in reading.logs.tail(9))

    with app.run():
        said, code, logged = answer.remote("print(6 * 7); raise SystemExit(3)")
    assert (said, code) == ("42\n", 3) and mark in logged
    stage.cli("app", "stop", f"test-{mark}", "--yes", check=0)
