"""Commands inside running containers, with pipes or a terminal.

The command is started through the runtime (``runc exec``) as a child of the worker; its output becomes the items of
the ``exec.start`` stream, ``exec.input`` feeds its input.
"""
from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator

from windlass import exception
from windlass.kit import descriptors, tasks
from windlass.wire import peer as peers
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker.runtime import base

_CHUNK = 65536
_GRACE = 2.0  # seconds that output may stay open after the command has ended (its children hold it)


class _Session:
    """One command: its process, the descriptors we hold of it, and where its output goes."""

    def __init__(self, command: base.Command, request: containers.ContainerExec) -> None:
        self._pty = bool(request.get("pty"))
        self._pid_file = command.pid_file
        self.feeding = asyncio.Lock()
        """Whoever writes holds it: input keeps its order."""
        self.outputs: dict[str, int] = {}
        if self._pty:
            self._open_pty(command, request)
        else:
            self._open_pipes(command)
        for descriptor in (self._input, *self.outputs.values()):
            if descriptor is not None:
                os.set_blocking(descriptor, False)

    def _open_pty(self, command: base.Command, request: containers.ContainerExec) -> None:
        master, slave = os.openpty()
        try:
            self._input: int | None = master
            self.resize(request.get("rows", 24), request.get("cols", 80))
            # The runtime reads window changes from its controlling terminal.
            self.process = subprocess.Popen(
                command.argv, env=command.env, cwd=command.cwd, stdin=slave, stdout=slave, stderr=slave,
                start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )  # fmt: skip
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.outputs["stdout"] = master

    def _open_pipes(self, command: base.Command) -> None:
        self.process = subprocess.Popen(
            command.argv, env=command.env, cwd=command.cwd, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._input = os.dup(self.process.stdin.fileno())
        self.outputs = {
            "stdout": os.dup(self.process.stdout.fileno()),
            "stderr": os.dup(self.process.stderr.fileno()),
        }
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            file.close()

    def resize(self, rows: int, cols: int) -> None:
        if self._pty and self._input is not None:
            fcntl.ioctl(self._input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    async def write(self, data: bytes) -> None:
        """Waits while the command does not read."""
        while data and self._input is not None:
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                await descriptors.ready(self._input, writing=True)
            except OSError:  # nobody will ever read
                return

    async def end_input(self) -> None:
        if self._input is None:
            return
        if self._pty:
            await self.write(b"\x04")
            return
        os.close(self._input)
        self._input = None

    async def wait(self) -> int:
        """The exit code, as a shell would say it. Holds no thread: a shell may stay open for days."""
        descriptor = os.pidfd_open(self.process.pid)
        try:
            await descriptors.ready(descriptor)
        finally:
            os.close(descriptor)
        code = self.process.wait()
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        # Killing the runtime would leave the program inside alone.
        if self._pid_file is not None:
            folders.kill_by_files(self._pid_file.parent.name, self._pid_file)
            self._pid_file.unlink(missing_ok=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        held = set(self.outputs.values()) | ({self._input} if self._input is not None else set())
        for descriptor in held:
            os.close(descriptor)
        self._input, self.outputs = None, {}


class Sessions:
    """All commands under way on this worker, by ``exec_id``."""

    def __init__(self, runtime: base.Runtime, owner: tasks.Tasks) -> None:
        self._runtime = runtime
        self._owner = owner
        self._sessions: dict[str, _Session] = {}

    def start(self, incoming: peers.Incoming) -> None:
        """Answer ``exec.start``; cancelling the exchange kills the command."""
        task = self._owner.start(self._run(incoming), f"exec {incoming.body['exec_id']}")
        incoming.on_cancel = task.cancel  # type: ignore[assignment]

    def input(self, incoming: peers.Incoming) -> None:
        """Answer ``exec.input``."""
        self._owner.start(self._feed(incoming), f"input of exec {incoming.body['exec_id']}")

    async def _run(self, incoming: peers.Incoming) -> None:
        request: containers.ContainerExec = incoming.body
        try:
            with self._opened(request) as session:
                async with tasks.Tasks() as pumps:  # over before the session's descriptors are closed
                    reading = {
                        pumps.start(_pump(descriptor, source, incoming), f"{source} of a command")
                        for source, descriptor in session.outputs.items()
                    }
                    code = await session.wait()
                    await asyncio.wait(reading, timeout=_GRACE)
            incoming.item({"exit_code": code})
            incoming.end()
        except (exception.Error, OSError) as exc:
            incoming.fail(exc if isinstance(exc, exception.Error) else exception.ExecutionError(str(exc)))

    async def _feed(self, incoming: peers.Incoming) -> None:
        request: containers.ExecInput = incoming.body
        session = self._sessions.get(request["exec_id"])
        if session is None:
            incoming.fail(exception.NotFoundError("this command has ended"))
            return
        if request.get("rows") and request.get("cols"):
            session.resize(request["rows"], request["cols"])
        async with session.feeding:
            if incoming.attachments:
                await session.write(incoming.attachments[0])
            if request.get("eof"):
                await session.end_input()
        incoming.reply({})

    @contextlib.contextmanager
    def _opened(self, request: containers.ContainerExec) -> Iterator[_Session]:
        if request["exec_id"] in self._sessions:  # whoever asks chose it, and might choose that of others
            raise exception.AlreadyExistsError("a command with this id runs already")
        command = self._runtime.command(request["container_id"], request["command"], pty=bool(request.get("pty")))
        session = self._sessions[request["exec_id"]] = _Session(command, request)
        try:
            yield session
        finally:
            del self._sessions[request["exec_id"]]
            session.close()


async def _pump(descriptor: int, source: str, incoming: peers.Incoming) -> None:
    while True:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            await descriptors.ready(descriptor)
            continue
        except OSError:  # a terminal whose other end is closed
            return
        if not data:
            return
        incoming.item({"source": source}, [data])
        await incoming.peer.drain()
