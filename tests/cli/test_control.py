"""The platform's life, with the real server and a worker without isolation."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from windlass import exception, paths
from windlass.cli import control, programs
from windlass.client import output, session


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WINDLASS_RUNTIME", "process")
    yield tmp_path
    control.stop(tmp_path)
    stand_in = paths.run(tmp_path)
    assert not programs.is_running(tmp_path)
    assert not [*stand_in.glob("*.sock")] if stand_in.exists() else True
    shutil.rmtree(tmp_path)


def pids(home: Path) -> dict[str, int]:
    return {name: one["pid"] for name, one in programs.read_state(home)["programs"].items()}


def wait_for(condition: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_start_answers_twice_and_stop_leaves_no_process(home: Path) -> None:
    assert control.start(home) is True
    assert control.start(home) is False
    alive = [*pids(home).values(), programs.read_state(home)["pid"]]
    assert control.report(home)["state"] == "running"
    assert control.stop(home) is True
    assert control.stop(home) is False
    assert not any(control.is_alive(pid) for pid in alive)
    assert control.report(home)["state"] == "stopped"


def test_what_the_machine_cannot_give_is_said_where_a_platform_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Said(output.Output):
        text = ""

        def notice(self, text: str) -> None:
            self.text += text

    monkeypatch.setenv("WINDLASS_HOME", str(home))
    assert "without any isolation" in session.start_platform()
    assert session.start_platform() == "", "it is up already"
    control.stop(home)
    said = Said()
    with output.using(said):
        control.ensure(home)
        control.ensure(home)
    assert said.text.count("without any isolation") == 1 and "windlass doctor" in said.text


def test_killed_programs_come_back_and_nothing_survives_a_killed_supervisor(home: Path) -> None:
    control.start(home)
    before = pids(home)
    for name in programs.NAMES:
        os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: all(pid and pid != before[name] for name, pid in pids(home).items()))
    wait_for(lambda: control.ask_server(home) is not None)
    after = pids(home)
    os.kill(programs.read_state(home)["pid"], signal.SIGKILL)
    wait_for(lambda: not any(control.is_alive(pid) for pid in after.values()))


def test_stop_waits_for_what_it_kills_after_a_killed_supervisor(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control.start(home)
    left = pids(home)
    os.kill(left["server"], signal.SIGSTOP)  # so that it does not hear that its supervisor has ended
    os.kill(programs.read_state(home)["pid"], signal.SIGKILL)
    wait_for(lambda: not programs.is_running(home))

    def late(pid: int, number: int) -> None:
        """As for a process that waits for the disk."""
        threading.Timer(2, signals, (pid, number)).start()

    signals = control._signal
    monkeypatch.setattr(control, "_signal", late)
    control.stop(home)
    assert not control.is_alive(left["server"])


def test_another_version_is_refused_with_the_next_step(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control.start(home)
    monkeypatch.setattr(control, "version", lambda: "9.9.9")
    with pytest.raises(exception.VersionError) as caught:
        control.start(home)
    assert "9.9.9" in str(caught.value) and "restart" in caught.value.hint


def test_a_server_that_dies_at_its_start_says_why(home: Path) -> None:
    (home / "db").write_text("a file where a folder must be")
    with pytest.raises(exception.ConnectionError, match="server ended at its start"):
        control.start(home)
    assert not programs.is_running(home)


def test_a_server_that_cannot_listen_where_it_shall_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("WINDLASS_SERVER_METRICS", f"127.0.0.1:{taken.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(exception.ConnectionError, match=r"figures cannot be served.*address already in use"):
            control.start(home)
        assert time.monotonic() - began < 60  # not as long as a worker may take


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:"])
def test_an_address_for_figures_that_is_none_is_refused_before_anything_is_stopped(address: str, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "windlass", "server", "restart", "--metrics", address],
        env={**os.environ, "WINDLASS_HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "is no HOST:PORT" in done.stderr


def test_a_worker_that_cannot_start_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_RUNTIME", "no-such-runtime")
    with pytest.raises(exception.ConnectionError, match="worker ended at its start"):
        control.ensure(home)
    assert not programs.is_running(home)


def test_a_platform_without_a_worker_answers_questions(home: Path) -> None:
    control.start(home)
    assert [node["runtime"] for node in control.report(home)["nodes"]] == ["process"]
    control.ensure(home, worker=False)


def test_somebody_elses_platform_is_named_with_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **options: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refused)  # as below a folder that only its owner may enter
    with pytest.raises(exception.PermissionDeniedError, match="belongs to another user") as caught:
        programs.is_running(tmp_path)
    assert "WINDLASS_HOME" in caught.value.hint


@pytest.mark.parametrize("argv", ["server logs", "server status", "server stop", "server start", "server backup b.tar",
                                  "server restore b.tar", "doctor", "app list"])  # fmt: skip
@pytest.mark.parametrize("length", [0, 20], ids=["", "with a long name"])
def test_each_command_says_whose_a_home_is_that_cannot_be_used(argv: str, length: int, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    home = tmp_path / ("theirs-" + "long" * length) / "home"
    (home / "run").mkdir(parents=True)
    (home / "log").mkdir()
    for folder in (home / "run", home / "log", home):
        folder.chmod(0o700)
    # All that a command needs is imported before it becomes nobody, who may not read where this test lies.
    code = (
        "import os, sys, difflib, encodings.idna\n"
        "from windlass.cli import __main__, app, ask, backup, control, doctor, failure, server, tables\n"
        "from windlass.client import bridge, session\nimport windlass.cli.backups.restoring, tomllib\n"
        "doctor._host = lambda root, worker: iter(())\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(__main__.execute(sys.argv[1:]))"
    )
    env = {**os.environ, "WINDLASS_HOME": str(home), "HOME": "/nonexistent"}
    words = [sys.executable, "-c", code, *argv.split()]
    done = subprocess.run(words, env=env, capture_output=True, text=True, cwd="/", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert f"the platform in {home} belongs to another user" in said and "WINDLASS_HOME" in said
    assert "Traceback" not in said and "Errno" not in said
