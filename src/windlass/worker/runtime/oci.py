"""OCI runtimes: a binary (crun, runc, runsc) under conmon.

conmon starts the runtime's ``create``, tells through a pipe how that went, then stays beside the container: it keeps
the log and writes the exit status. All calls here block; callers use threads.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from windlass import exception
from windlass.worker import folder as folders
from windlass.worker import linux

_CREATE_TIME = 30.0
_START_TIME = 5.0
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_UUID = 12  # characters of the id that name conmon's socket: paths of sockets must be short


class Oci:
    """One runtime binary and its state folder."""

    def __init__(self, binary: str, *, conmon: str, run: Path, exits: Path) -> None:
        self.name = Path(binary).name
        self._binary = binary
        self._conmon = conmon
        self._state = run / "oci"
        self._sockets = run / "c"
        self._exits = exits
        for path in (self._state, self._sockets, exits):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def launch(
        self, folder: folders.Folder, *, enter: Sequence[str] = (), created: Callable[[int], None] | None = None
    ) -> folders.Record:
        """Create and start what ``folder.bundle`` describes. ``enter``: command line that puts what follows it into
        the container's control group. ``created`` is called with the pid of its first process before that runs.
        Raises ``ExecutionError`` with the runtime's words."""
        pid = self._create(folder, enter)
        if created is not None:
            created(pid)
        self._start(folder)
        monitor = folders.read_pid(folder.monitor_file)
        return {
            "container_id": folder.container_id, "pid": pid, "pid_start": folders.start_time(pid),
            "monitor": monitor, "monitor_start": folders.start_time(monitor),
        }  # fmt: skip

    def forget(self, container_id: str) -> None:
        """Remove what runtime and monitor keep of a container whose processes are gone."""
        shutil.rmtree(self._state / container_id, ignore_errors=True)
        (self._sockets / container_id[-_UUID:]).unlink(missing_ok=True)

    def run_command(self, name: str, bundle: Path, pid_file: Path) -> list[str]:
        """What to start so that the bundle runs in the foreground with our own pipes."""
        return [*self._base(), "run", "--bundle", str(bundle), "--pid-file", str(pid_file), name]

    def exec_command(
        self, container_id: str, argv: Sequence[str], *, search: str, pty: bool, pid_file: Path
    ) -> list[str]:
        """What to start so that ``argv`` runs inside. ``search``: its ``PYTHONPATH``."""
        terminal = ["--tty", "--env", "TERM=xterm-256color"] if pty else []
        told = ["--env", f"PYTHONPATH={search}", *terminal]
        return [*self._base(), "exec", "--pid-file", str(pid_file), *told, container_id, *argv]

    def _base(self) -> list[str]:
        return [self._binary, "--root", str(self._state)]

    def _create(self, folder: folders.Folder, enter: Sequence[str]) -> int:
        reading, writing = os.pipe()
        try:
            try:
                subprocess.Popen(
                    [*enter, *self._monitor_command(folder)], pass_fds=[writing], start_new_session=True,
                    env=_ENVIRONMENT | {"_OCI_SYNCPIPE": str(writing)},
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                ).wait()  # fmt: skip
            finally:
                os.close(writing)
            return _answer(reading)
        finally:
            os.close(reading)

    def _monitor_command(self, folder: folders.Folder) -> list[str]:
        name = folder.container_id
        return [
            self._conmon, "--api-version", "1", "-c", name, "-u", name[-_UUID:], "-n", name, "-r", self._binary,
            "--runtime-arg", "--root", "--runtime-arg", str(self._state), "-b", str(folder.bundle),
            "-p", str(folder.pid_file), "--conmon-pidfile", str(folder.monitor_file),
            "--exit-dir", str(self._exits), "--persist-dir", str(folder.path),
            "-l", f"k8s-file:{folder.log}", "--log-level", "error", "--no-sync-log",
            "--socket-dir-path", str(self._sockets),
        ]  # fmt: skip

    def _start(self, folder: folders.Folder) -> None:
        # ``runc start`` does no more than read this pipe and remove it; the process for that costs 10 ms.
        fifo = self._state / folder.container_id / "exec.fifo"
        if self.name == "runc" and fifo.exists() and _released(fifo):
            return
        result = subprocess.run(
            [*self._base(), "start", folder.container_id], env=_ENVIRONMENT, capture_output=True, check=False
        )
        if result.returncode:
            raise exception.ExecutionError(f"{self.name} cannot start the container: {reason(result.stderr)}")


def _released(fifo: Path) -> bool:
    """Let a created container go on: it waits until somebody reads what it writes here."""
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        ready = linux.readable(descriptor, _START_TIME)
        if not ready or not os.read(descriptor, 1):
            return False
    finally:
        os.close(descriptor)
    fifo.unlink(missing_ok=True)
    return True


def _answer(reading: int) -> int:
    """The pid that conmon tells through its pipe; a number below zero means failure."""
    deadline, text = time.monotonic() + _CREATE_TIME, b""
    while not text.endswith(b"\n"):
        ready = linux.readable(reading, max(0.0, deadline - time.monotonic()))
        data = os.read(reading, 65536) if ready else b""
        if not data:
            break
        text += data
    try:
        answer = json.loads(text)
    except ValueError:
        raise exception.ExecutionError("the container's monitor (conmon) said nothing about its start") from None
    if answer["data"] < 0:
        words = reason(answer.get("message", "").encode())
        raise exception.ExecutionError(f"the container could not be created: {words}")
    return int(answer["data"])


def reason(stderr: bytes) -> str:
    """The last line of what a runtime said, unwrapped from its log format."""
    line = stderr.decode(errors="replace").strip().rpartition("\n")[2]
    logged = re.search(r'level=error msg="(.*)"$', line)
    return logged.group(1).replace('\\"', '"') if logged else line
