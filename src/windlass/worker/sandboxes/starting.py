"""The worker's side of the conversation with the starter: it is begun with the worker, and spoken to in packets."""
from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from windlass import exception
from windlass.kit import clock, tasks
from windlass.worker import folder as folders
from windlass.worker import packets
from windlass.worker.sandboxes import custody, entering
from windlass.worker.snapshots import cell, template

_log = logging.getLogger(__name__)
_BEGIN_TIME, _ANSWER_TIME = 120.0, 30.0  # seconds; a starter that ends at once is noticed at once
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
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False
        self.pid = 0
        self.path = self._folder / "0"

    async def __aenter__(self) -> Starting:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ready = self._tasks.start(self._begin(), "the starter of sandboxes")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await self._tasks.close()
        self._end_unheard()
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
        self, name: str, inside: entering.Inside, ends: Sequence[int], ended: Callable[[int], None],
        kept: Sequence[int] = (), note: custody.Note | None = None,
    ) -> int:  # fmt: skip
        """Start another command on the descriptors ``ends``, and call ``ended`` with its exit code. Its pid.

        ``kept``: our own ends, which the next worker shall have with ``note`` if we are killed, until ``forget``."""
        self._told[name] = ended
        body = {"op": "exec", "id": name, "inside": inside, "ends": len(ends), "note": note}
        try:
            return int((await self._ask(body, [*ends, *kept]))["pid"])
        except BaseException as exc:
            self._told.pop(name, None)
            if not isinstance(exc, Refused):
                self.kill(name)  # it may be on its way, and nobody would look after it
                self.forget(name)
            raise

    def close_input(self, name: str) -> None:
        """We have closed the input of a command: nobody else shall hold it open."""
        self._say({"op": "eof", "id": name})

    def emptied(self, name: str, stream: int) -> None:
        """All that a command has written to one of its streams is in its file."""
        self._say({"op": "emptied", "id": name, "stream": stream})

    def forget(self, name: str) -> None:
        """Nobody will ask for it any more."""
        self._say({"op": "forget", "id": name})

    def earlier(self) -> Iterator[custody.Earlier]:
        """The starters of earlier workers."""
        return custody.earlier(self._folder, self.pid)

    def kill(self, name: str) -> None:
        """Kill a command and the processes of its session."""
        self._say({"op": "kill", "id": name})

    def resize(self, name: str, rows: int, cols: int) -> None:
        """As ``execs.Starter`` has it: the command has that terminal itself."""

    async def end_input(self, path: Path, name: str) -> None:
        """Let the input of a sandbox's command end. ``path``: of the starter that has it."""
        self._tell(path, {"op": "eof", "id": name})

    async def resize_own(self, path: Path, name: str, rows: int, cols: int) -> None:
        """Give the terminal of a sandbox's command another size, if it has one."""
        self._tell(path, {"op": "resize", "id": name, "rows": rows, "cols": cols})

    def _tell(self, path: Path, body: dict[str, Any]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as talk:
            try:
                talk.connect(str(path))
                talk.send(json.dumps(body).encode())
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
        self._process = subprocess.Popen(
            ["sh", "-c", line, "sh", str(self._folder), str(self._exits), *program],
            env=template.own_environment(), start_new_session=True, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if self._over:  # we were left while this thread made it
            self._end_unheard()
        return self._process

    def _end_unheard(self) -> None:
        """End the starter that we have not spoken with: it has nothing in its care, and would wait for us."""
        if self._process is not None and self._process.pid != self.pid:
            self._process.kill()
            self._process.wait()

    async def _ask(self, body: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        await self.ready()
        assert self._talk is not None
        try:
            said = await self._talk.ask(body["id"], body, _ANSWER_TIME, descriptors)
        except asyncio.TimeoutError:
            raise exception.ExecutionError("the starter of sandboxes did not answer in time") from None
        except OSError as exc:
            if exc.errno == errno.EMSGSIZE:
                raise exception.RequestSizeError(
                    "the arguments and the environment of this command, secrets included, are too large together",
                    hint="Keep them below about 200,000 bytes: put large values into a file or a Volume.",
                ) from None
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
