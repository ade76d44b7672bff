"""The worker's side of the conversation with the starter: it is begun with the worker, and spoken to in packets."""
from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from windlass import exception
from windlass.kit import clock, tasks
from windlass.worker import folder as folders
from windlass.worker import packets
from windlass.worker.sandboxes import entering
from windlass.worker.snapshots import cell, families

_log = logging.getLogger(__name__)
_BEGIN_TIME, _ANSWER_TIME = 20.0, 30.0
_LOOK = 0.01


class Starting:
    """A starter of our own. Those of earlier workers go on with what they have."""

    def __init__(self, run: Path, exits: Path) -> None:
        self._folder = run / "starters"
        self._exits = exits
        self._talk: packets.Conversation | None = None
        self._told: dict[str, Callable[[int], None]] = {}
        self._tasks = tasks.Tasks(_failed)
        self._time = clock.SystemClock()
        self._ready: asyncio.Task[None] | None = None
        self.pid = 0
        self.path = self._folder / "0"

    async def __aenter__(self) -> Starting:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ready = self._tasks.start(self._begin(), "the starter of sandboxes")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()
        if self._talk is not None:
            self._talk.close()

    async def ready(self) -> None:
        """Wait until it answers; begin another one where it has ended. Raises ``ExecutionError``."""
        if self._ready is None or (self._ready.done() and not self._hears()):
            self._ready = self._tasks.start(self._begin(), "the starter of sandboxes")
        await asyncio.shield(self._ready)

    async def cell(self, name: str, plan: cell.Plan) -> int:
        """Have the namespaces of a sandbox made; the pid of process 1 there. Raises ``ExecutionError``."""
        return int((await self._ask({"op": "cell", "id": name, "plan": plan}))["pid"])

    async def start(self, name: str, inside: entering.Inside) -> int:
        """Start a sandbox's own command; its pid. Raises ``ExecutionError`` where it cannot be run."""
        return int((await self._ask({"op": "start", "id": name, "inside": inside}))["pid"])

    async def execute(
        self, name: str, inside: entering.Inside, ends: Sequence[int], ended: Callable[[int], None]
    ) -> int:
        """Start another command on the descriptors ``ends``, and call ``ended`` with its exit code. Its pid."""
        self._told[name] = ended
        try:
            return int((await self._ask({"op": "exec", "id": name, "inside": inside}, ends))["pid"])
        except BaseException as exc:
            self._told.pop(name, None)
            if not isinstance(exc, Refused):
                self.kill(name)  # it may be on its way, and nobody would look after it
            raise

    def kill(self, name: str) -> None:
        """Kill a command and the processes of its session."""
        self._say({"op": "kill", "id": name})

    def resize(self, name: str, rows: int, cols: int) -> None:
        """As ``execs.Starter`` has it: the command has that terminal itself."""

    async def end_input(self, path: Path, name: str) -> None:
        """Let the input of a sandbox's command end. ``path``: of the starter that has it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as talk:
            try:
                talk.connect(str(path))
                talk.send(json.dumps({"op": "eof", "id": name}).encode())
            except OSError as exc:
                raise exception.ConflictError(f"the sandbox's input cannot be reached: {exc}") from None

    async def _begin(self) -> None:
        if platform.machine() != "x86_64":
            raise exception.UnimplementedError("sandboxes need an x86-64 processor in this version of Windlass")
        process = await asyncio.to_thread(self._spawn)
        deadline = self._time.monotonic() + _BEGIN_TIME
        self.path = self._folder / f"{process.pid}"
        while not self.path.exists():
            if process.poll() is not None or self._time.monotonic() > deadline:
                raise exception.ExecutionError("sandboxes cannot be started: their starter did not begin")
            await self._time.sleep(_LOOK)
        talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        talk.connect(str(self.path))
        self._talk, self.pid = packets.Conversation(talk, told=self._heard, over=self._lost), process.pid
        self._talk.listen()

    def _hears(self) -> bool:
        return self._talk is not None and self._talk.open

    def _spawn(self) -> subprocess.Popen[bytes]:
        # The name of its socket is its pid, which only the shell knows before it runs.
        program = [sys.executable, "-m", "windlass.worker.sandboxes.starter"]
        line = 'folder=$1 exits=$2; shift 2; exec "$@" "$folder/$$" "$exits"'
        return subprocess.Popen(
            ["sh", "-c", line, "sh", str(self._folder), str(self._exits), *program],
            env=families.own_environment(), start_new_session=True, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    async def _ask(self, body: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        await self.ready()
        assert self._talk is not None
        try:
            said = await self._talk.ask(body["id"], body, _ANSWER_TIME, descriptors)
        except asyncio.TimeoutError:
            raise exception.ExecutionError("the starter of sandboxes did not answer in time") from None
        except OSError as exc:
            raise exception.ExecutionError(f"the starter of sandboxes cannot be asked: {exc}") from None
        if "failed" in said:
            raise Refused(said["failed"], said.get("errno", 0))
        return said

    def _say(self, body: dict[str, Any]) -> None:
        if self._talk is not None:
            with contextlib.suppress(OSError):
                self._talk.say(body)

    def _heard(self, said: dict[str, Any]) -> bool:
        if "exit" not in said:
            return False
        if (ended := self._told.pop(said["id"], None)) is not None:
            ended(said["exit"])
        return True

    def _lost(self) -> None:
        told, self._told = self._told, {}
        for ended in told.values():
            ended(137)


def end(first: int) -> None:
    """Kill process 1 of a cell, and with it all that runs there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL)


def _failed(name: str, exc: BaseException) -> None:
    """Whoever wants a sandbox hears of it, and it is tried again then."""
    _log.warning("%s: %s", name, exc)


class Refused(exception.ExecutionError):
    """The command could not be started. ``number``: of the kernel's error, 0 for none of it."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


def starter_of(run: Path, record: folders.Record) -> Path:
    """The socket of the starter that has a sandbox."""
    return run / "starters" / str(record["monitor"])
