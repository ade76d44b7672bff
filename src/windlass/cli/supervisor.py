"""Keeps server and worker alive, and ends them together.

    python -m windlass.cli.supervisor [--foreground] --home DIR

Started by the first command; survives the terminal. A program that dies is started again: after 0.1 s first, more
slowly each time, up to 5 s; one that lived for 10 s begins at 0.1 s again. SIGTERM ends the worker, the server, then
the node. When the supervisor itself is killed, the kernel tells its children (PDEATHSIG).

This process lives for ever, so it imports almost nothing and waits in one system call.
"""
from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from windlass import paths
from windlass.cli import programs

_FIRST_DELAY, _LAST_DELAY, _STEADY = 0.1, 5.0, 10.0
_GRACE = 10.0
_DOWN_GRACE = 30.0
_PROBE = 0.5  # seconds after which a lock is held by more than a question
_PR_SET_PDEATHSIG = 1
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
_libc = ctypes.CDLL(None)


class Program:
    """One supervised process: when it may start (again), and whether it lives."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self.name = name
        self.pid: int | None = None
        self.starts = 0
        self.last_exit: int | None = None
        self.started_at: float | None = None
        self._began = 0.0
        self._delay = _FIRST_DELAY
        self.due = 0.0
        """Monotonic time from which it may start."""

    def start(self) -> None:
        argv = [sys.executable, "-m", f"windlass.{self.name}", "--home", str(self._root)]
        self.pid = _spawn(argv, programs.open_log(self._root, self.name))
        self.starts += 1
        self.started_at, self._began = time.time(), time.monotonic()

    def ended(self, code: int) -> None:
        now = time.monotonic()
        if now - self._began >= _STEADY:
            self._delay = _FIRST_DELAY
        self.due = now + self._delay
        self._delay = min(self._delay * 2, _LAST_DELAY)
        self.pid, self.last_exit, self.started_at = None, code, None

    def stop(self) -> None:
        """End it with all it started in its process group (the worker runs below an nsenter)."""
        if self.pid is not None:
            _end_group(self.pid, _GRACE)
            self.pid = None


class Supervisor:
    def __init__(self, root: Path, version: str) -> None:
        self._root = root
        self._version = version
        self._programs = [Program(root, name) for name in programs.NAMES]
        self._stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._record()
        while not self._stopping:
            wait = self._start_due()
            caught = signal.sigtimedwait(_SIGNALS, wait)
            if caught is not None and caught.si_signo != signal.SIGCHLD:
                self._stopping = True
            self._reap()
        self._record()
        for program in reversed(self._programs):
            program.stop()
        _node_down(self._root)

    def _start_due(self) -> float:
        """Start what is due; seconds until something else may be."""
        now, wait = time.monotonic(), 3600.0
        for program in self._programs:
            if program.pid is not None:
                continue
            if program.name == "worker" and not paths.server_socket(self._root).exists():
                wait = min(wait, 0.02)
            elif program.due > now:
                wait = min(wait, program.due - now)
            else:
                program.start()
                self._record()
        return wait

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for program in self._programs:
                if program.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    _log(f"{program.name} (process {pid}) ended with {code}")
                    _end_group(pid, 0.0)
                    program.ended(code)
                    self._record()

    def _record(self) -> None:
        state = {
            "pid": os.getpid(),
            "version": self._version,
            "stopping": self._stopping,
            "programs": {
                p.name: {"pid": p.pid, "starts": p.starts, "last_exit": p.last_exit, "started_at": p.started_at}
                for p in self._programs
            },
        }
        try:
            programs.write_state(self._root, state)
        except OSError as exc:  # a full disk is no reason to let go of the programs
            _log(f"the state could not be written: {exc}")


def _spawn(argv: list[str], output: int) -> int:
    """Run ``argv`` in a session of its own, output appended to ``output``, which is closed here."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _exec(argv, output, parent)
    os.close(output)
    return pid


def _exec(argv: list[str], output: int, parent: int) -> NoReturn:
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed already: nobody will be told any more
            os._exit(127)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.execv(argv[0], argv)
    finally:
        os._exit(127)


def _end_group(leader: int, grace: float) -> None:
    """SIGTERM to the group, SIGKILL to what is left after ``grace`` seconds; returns when it is empty."""
    deadline = time.monotonic() + grace
    number: int = signal.SIGTERM if grace else signal.SIGKILL
    while True:
        try:
            os.killpg(leader, number)
        except (ProcessLookupError, PermissionError):
            return
        number = signal.SIGKILL if time.monotonic() > deadline else 0
        time.sleep(0.01)
        try:
            os.waitpid(leader, os.WNOHANG)
        except ChildProcessError:
            pass
        if time.monotonic() > deadline + 5:
            _log(f"processes of group {leader} do not end")
            return


def _node_down(root: Path) -> None:
    pid = _spawn(
        [sys.executable, "-m", "windlass.worker.node", "down", "--home", str(root)], programs.open_log(root, "worker")
    )
    deadline = time.monotonic() + _DOWN_GRACE
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return
        time.sleep(0.01)
    _log("the node did not come down in time")
    _end_group(pid, 0.0)


def _log(text: str) -> None:
    try:
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, file=sys.stderr, flush=True)
    except OSError:  # a full disk
        pass


def _daemonise(root: Path) -> None:
    """Leave the terminal: own session, no inherited descriptors, output to the log."""
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)  # users of containers pass through some folders; what is private says so itself
    null, log = os.open(os.devnull, os.O_RDWR), programs.open_log(root, "supervisor")
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 1024)


def _lock(root: Path) -> int | None:
    """The lock, or None where another supervisor has it. Whoever asks whether one lives holds it for a moment."""
    deadline = time.monotonic() + _PROBE
    while (lock := programs.take_lock(root)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return lock


def _leave(root: Path, lock: int) -> None:
    """Remove what would tell of a platform that is no more. The lock goes last: whoever takes it finds all clean."""
    run = paths.run(root)
    for leftover in (programs.state_file(root), *run.glob("*.sock"), *run.glob("*.pid")):
        leftover.unlink(missing_ok=True)
    if run != root / "run":
        shutil.rmtree(run, ignore_errors=True)
    else:
        (run / "supervisor.lock").unlink(missing_ok=True)
    os.close(lock)


def main(argv: list[str]) -> int:
    foreground = "--foreground" in argv
    rest = [word for word in argv if word != "--foreground"]
    if len(rest) != 2 or rest[0] != "--home":
        print("usage: python -m windlass.cli.supervisor [--foreground] --home DIR", file=sys.stderr)
        return 2
    root = Path(rest[1]).absolute()
    programs.prepare(root)
    if not foreground:
        _daemonise(root)
    lock = _lock(root)
    if lock is None:
        # Another one was first; whoever started us waits for its server all the same.
        return 1 if foreground else 0
    import windlass

    _log(f"supervisor {os.getpid()} begins")
    Supervisor(root, getattr(windlass, "__version__", "")).run()
    _log("supervisor ends")
    _leave(root, lock)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
