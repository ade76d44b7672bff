"""Start, stop and look at the local platform. No terminal here: `windlass server` prints, the session only calls.

"Up" means that the server answers ``hello`` on its socket and a worker has connected to it.
"""
from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windlass import config, exception, paths
from windlass.cli import programs
from windlass.client import direct, output
from windlass.wire import PROTOCOL

if TYPE_CHECKING:
    from windlass.wire.messages import common

_ANSWER = 5.0
_POLL = 0.02
# What dies at its start says so at once. These are for machines so slow (emulated, overloaded) that they need minutes.
_SERVER, _WORKER = 300.0, 180.0
_TAIL = 15
_ROOM = 64 * 1024


def version() -> str:
    """Version of this installation."""
    import windlass

    return str(getattr(windlass, "__version__", ""))


def ask_server(root: Path, method: str = "") -> dict[str, Any] | None:
    """What the server answers to ``hello``, or to ``method`` after it; None where nobody listens, or answers in time.

    Raises:
        Error: that is its answer.
        PermissionDeniedError: somebody else listens there.
    """
    path = str(paths.server_socket(root))
    hello: common.HelloRequest = {
        "role": "user", "protocol": PROTOCOL, "version": version(), "client_id": "control",
    }  # fmt: skip
    try:
        if not method:
            return dict(direct.greet(path, hello, home=root))
        return dict(direct.request(path, hello, method, {}, timeout=_ANSWER, home=root))
    except exception.Error:  # an answer; some, as TimeoutError, are OSErrors, too
        raise
    except OSError:
        return None


def check_version(root: Path, answer: dict[str, Any]) -> None:
    """Raise ``VersionError`` when the platform that runs is of another version than this command, which starts it."""
    running = answer.get("version", "")
    if running and version() and running != version():
        raise exception.VersionError(
            f"The platform in {root} runs Windlass {running}, this command is Windlass {version()}.",
            hint="Run `windlass server restart`: running containers end, what was accepted is kept.",
        )


def start(root: Path, *, timeout: float = _SERVER) -> bool:
    """Make sure that the platform is up; True when this call started it.

    Raises:
        VersionError: it runs in another version.
        ConnectionError: a program died at its start (its last log lines are in the message), or nobody answered.
    """
    fresh = not programs.is_running(root)
    if fresh:
        _claim_folders(root)
    elif (answer := ask_server(root)) is not None:
        check_version(root, answer)
        return False
    marks = {name: _size(programs.log_file(root, name)) for name in (*programs.NAMES, "supervisor")}
    _launch(root)
    try:
        _await_server(root, marks, timeout)
        if fresh:
            _await_worker(root, marks)
    except exception.ConnectionError:
        if fresh:
            stop(root)  # half a platform helps nobody
        raise
    return True


def ensure(root: Path, tell: Callable[[str], None] = lambda text: None, *, worker: bool = True) -> None:
    """What a command needs before its first request: a platform of this version, and a ``worker`` unless it only asks.

    ``tell`` hears what takes long, and "" when it is over. A platform elsewhere (``server_url``) is not
    started from here.
    """
    if config.config["server_url"]:
        return
    paths.check_system()
    answer = ask_server(root, "node.list")
    if answer is not None and (answer["nodes"] or not worker):
        return
    tell("Starting the local platform" if answer is None else "Waiting for the worker")
    try:
        if answer is None:
            start(root)
        else:
            _await_worker(root, {})
    finally:
        tell("")
    if answer is None:
        for line in lacks(root):
            output.current().notice(line)


def lacks(root: Path) -> list[str]:
    """What whoever starts the platform in ``root`` is to know of this machine: lines; none where it gives all."""
    nodes = (ask_server(root, "node.list") or {}).get("nodes", [])
    gaps = [f"! {gap}" for node in nodes for gap in node["gaps"]]
    return [*gaps, "`windlass doctor` says how to change that."] if gaps else []


def stop(root: Path, *, timeout: float = 60.0) -> bool:
    """End the platform and everything in it; returns when all is gone. False when nothing ran."""
    from windlass.cli import unit  # costs time, and is seldom needed

    running = programs.is_running(root)
    pid = programs.read_state(root).get("pid")
    if running:
        unit.end(root)
        deadline = time.monotonic() + timeout
        if programs.is_running(root):
            _signal(pid, signal.SIGTERM)
        while programs.is_running(root):
            if time.monotonic() > deadline:
                _signal(pid, signal.SIGKILL)
                break
            time.sleep(_POLL)
        _await_end(pid)
    node_left = (paths.run(root) / "node.json").exists()  # the supervisor could not run its last command
    if not running or programs.is_running(root) or programs.state_file(root).exists() or node_left:
        _clear_up(root)
    return running


def report(root: Path) -> dict[str, Any]:
    """What `windlass server status` shows."""
    running = programs.is_running(root)
    state = programs.read_state(root) if running else {}
    answer = ask_server(root) if running else None
    pieces = state.get("programs", {})
    nodes = (ask_server(root, "node.list") or {}).get("nodes", []) if answer else []
    return {
        "state": "stopping" if state.get("stopping") else "running" if answer else "starting" if running else "stopped",
        "home": str(root),
        "version": state.get("version") or None,
        "socket": str(paths.server_socket(root)),
        "supervisor": {"pid": state.get("pid"), "memory": _memory(state.get("pid"))} if running else None,
        **{name: _describe(pieces.get(name)) if running else None for name in programs.NAMES},
        "nodes": nodes,
    }


def tail(path: Path, lines: int, start_at: int = 0) -> list[str]:
    """The last ``lines`` lines of a log, none written before byte ``start_at``."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start_at if start_at <= end else 0, end - lines * 400))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


# -- inside ---------------------------------------------------------------------------------------------


def _claim_folders(root: Path) -> None:
    try:
        programs.prepare(root)
        probe = paths.run(root) / "probe"
        try:
            probe.write_bytes(bytes(_ROOM))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as exc:
        raise exception.ConnectionError(
            f"Windlass cannot keep its state in {root}: {exc.strerror or exc}.",
            hint="Free some space or correct the permissions, or choose another folder with WINDLASS_HOME.",
        ) from None


def _launch(root: Path) -> None:
    """Start a supervisor. Several at once do no harm: the lock lets one live."""
    from windlass.cli import scope, unit  # cost time, and are seldom needed

    if unit.begin(root):
        return
    argv = [sys.executable, "-m", "windlass.cli.supervisor", "--home", str(root)]
    wrapped = scope.around(argv)
    failure = _run(wrapped, root)
    if failure is not None and wrapped != argv:  # a systemd that refuses is done without
        failure = _run(argv, root)
    if failure is not None:
        raise exception.ConnectionError(f"The supervisor could not start.\n{failure}")


def _run(argv: list[str], root: Path) -> str | None:
    """What a command that failed has said."""
    import subprocess

    environment = {**os.environ, "WINDLASS_HOME": str(root)}
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


def _await_server(root: Path, marks: dict[str, int], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    # One that was killed while it served is started again by the supervisor: that is no failure to start.
    before = programs.read_state(root).get("programs", {}).get("server", {}).get("starts", 0)
    while True:
        if (answer := ask_server(root)) is not None:
            check_version(root, answer)
            return
        program = programs.read_state(root).get("programs", {}).get("server", {})
        if program.get("starts", 0) >= before + 2 and program.get("last_exit") is not None:
            raise _died(root, "server", marks, program["last_exit"])
        if not programs.is_running(root) and time.monotonic() > deadline - timeout + _ANSWER:
            raise _died(root, "supervisor", marks, 1)
        if time.monotonic() > deadline:
            raise exception.ConnectionError(
                f"The server did not answer within {timeout:.0f} s.",
                hint=f"See `windlass server logs`, or the files in {root / 'log'}.",
            )
        time.sleep(_POLL)


def _await_worker(root: Path, marks: dict[str, int]) -> None:
    """Wait until a worker is connected. One that cannot start (a missing package, no permission) says so at once."""
    deadline = time.monotonic() + _WORKER
    while not (ask_server(root, "node.list") or {"nodes": []})["nodes"]:
        program = programs.read_state(root).get("programs", {}).get("worker", {})
        given_up = time.monotonic() > deadline
        if program.get("last_exit") is not None and (given_up or marks):
            raise _died(root, "worker", marks, program["last_exit"])
        if given_up:
            raise exception.ConnectionError(
                f"The worker did not connect within {_WORKER:.0f} s.", hint="See `windlass server logs worker`."
            )
        time.sleep(_POLL)


def _died(root: Path, name: str, marks: dict[str, int], code: int) -> exception.Error:
    """The error for a program that does not stay alive."""
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    said = "".join(f"\n  {line}" for line in tail(programs.log_file(root, name), _TAIL, marks.get(name, 0)))
    return exception.ConnectionError(
        f"The {name} ended at its start ({how}). Its last words:{said}",
        hint="`windlass doctor` says what this machine lacks.",
    )


def _clear_up(root: Path) -> None:
    """After a supervisor that was killed: end the node and remove what points to a platform that is no more."""
    if not root.exists():
        return
    import shutil
    import subprocess

    state, killed = programs.read_state(root), []
    for name in reversed(programs.NAMES):
        pid = state.get("programs", {}).get(name, {}).get("pid")
        if pid and f"windlass.{name}" in _command_line(pid):
            _signal(pid, signal.SIGKILL)
            killed.append(pid)
    argv = [sys.executable, "-m", "windlass.worker.node", "down", "--home", str(root)]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    for pid in killed:  # one that waits for the disk takes its time
        _await_end(pid)
    run = paths.run(root)
    for leftover in (programs.state_file(root), *run.glob("*.sock"), *run.glob("*.pid")):
        leftover.unlink(missing_ok=True)
    if run != root / "run":
        shutil.rmtree(run, ignore_errors=True)


def _await_end(pid: int | None) -> None:
    """Wait until a process that has let go of its lock, or was killed, is gone, too."""
    deadline = time.monotonic() + _ANSWER
    while pid and is_alive(pid) and time.monotonic() < deadline:
        time.sleep(_POLL)


def is_alive(pid: int) -> bool:
    """Whether such a process runs; one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _signal(pid: int | None, number: int) -> None:
    if pid:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _describe(program: dict[str, Any] | None) -> dict[str, Any] | None:
    if program is None:
        return None
    return {**program, "memory": _memory(program.get("pid"))}


def _memory(leader: int | None) -> int | None:
    """Resident bytes of a program: its process and those of its process group (the worker runs below an nsenter)."""
    if not leader:
        return None
    found = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == leader:
                found += int((entry / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            continue
    return found or None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
