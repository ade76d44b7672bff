"""One template and its keeper, as the worker speaks with them: have forks made, furnish their cells, let them go."""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker import linux, packets, spec
from windlass.worker.snapshots import cell, keeper, reserve, stock

DOOR = "/__windlass/family"
_CALM = 0.2  # seconds after a fork began in which none is made for later
_FORK_TIME = 15.0
_KEEPER_TIME = 20.0


class Family:
    """One template and its keeper."""

    def __init__(self, kind: str, root: Path, plan: containers.ContainerPlan, *, ceiling: int = reserve.MOST) -> None:
        """``ceiling``: how many containers there may be of it at once."""
        self.kind = kind
        self.function_id = plan["function_id"]
        self.id = ids.new("te")
        self.stock = stock.Stock(self.id, ceiling=ceiling)
        self.folder = folders.Folder(root, self.id, kind=folders.FAMILIES)
        self.key = keeper.new_key()
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.made_at = time.monotonic()
        self.keeper = self.keeper_start = 0
        self._talk: packets.Conversation | None = None
        self._told = False

    @property
    def over(self) -> bool:
        return self.stock.over

    @property
    def door(self) -> Path:
        """The folder that the template sees as ``DOOR``."""
        return self.folder.path / "door"

    def keep(self, init: int, exits: Path) -> None:
        """Start the keeper for the template whose first process is ``init``. Blocks until it is ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "windlass.worker.snapshots.keeper", str(theirs.fileno())],
                env=own_environment(),
                pass_fds=[theirs.fileno()], start_new_session=True, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self.keeper, self.keeper_start = process.pid, folders.start_time(process.pid)
        mask = sum(1 << linux.CAPABILITIES[name] for name in spec.CAPABILITIES)
        about: keeper.Family = {
            "init": init, "door": str(self.door / "sock"), "key": self.key, "capabilities": mask, "exits": str(exits),
        }  # fmt: skip
        ours.settimeout(_KEEPER_TIME)
        with contextlib.ExitStack() as failed:
            failed.callback(process.wait)
            failed.callback(process.kill)
            failed.callback(ours.close)
            try:
                ours.send(json.dumps(about).encode())
                answer = json.loads(ours.recv(packets.PACKET) or b"{}")
            except (OSError, ValueError) as exc:
                raise exception.ExecutionError(f"the keeper of a memory snapshot did not start: {exc}") from None
            if "ready" not in answer:
                raise exception.ExecutionError(f"no memory snapshot: {answer.get('failed', 'its keeper ended')}")
            failed.pop_all()
        self._talk = packets.Conversation(ours, told=self._take, over=self.close)

    def listen(self) -> None:
        assert self._talk is not None
        self._talk.listen()

    def close(self) -> None:
        """No more forks."""
        self.stock.close()
        if self._talk is not None:
            self._talk.close("the template was given up")
        self._fail("the template was given up")

    async def furnish(self, name: str, plan: cell.Plan) -> int:
        """Have a cell made; the pid of its first process. Raises ``Cold``."""
        return await self._ask(name, {"cell": {"id": name, "plan": plan}})

    async def fork(self, name: str, doors: Sequence[Path]) -> int:
        """Have a fork made in that cell, and in the control groups of ``doors``; it waits there for ``go``. Its pid.
        Raises ``Cold``."""
        return await self._ask(name, {"fork": {"cell": name, "doors": [str(door) for door in doors]}})

    async def _ask(self, name: str, body: dict[str, Any]) -> int:
        try:
            if self._talk is None:
                raise OSError("it is gone")
            said = await self._talk.ask(name, body, _FORK_TIME)
        except asyncio.TimeoutError:
            self.close()
            raise stock.Cold("its template did not fork in time") from None
        except OSError as exc:
            raise stock.Cold(f"its template cannot be asked: {exc}") from None
        if "pid" not in said:
            raise stock.Cold(f"the fork failed: {said.get('failed')}")
        return int(said["pid"])

    def go(self, ready: stock.Cell, name: str) -> None:
        """Let it run as this container. The next one is made later: that would make it late. Raises ``Cold``."""
        asyncio.get_running_loop().call_later(_CALM, self.stock.refresh)
        if self.stock.was_lost(ready.name):
            raise stock.Cold("the fork has ended before it began")
        self._say({"go": {"cell": ready.name, "id": name, "log": str(ready.folder.log)}})

    def log_of_making(self) -> bytes:
        """What the template wrote until the fork point: for the log of the first fork."""
        if self._told:
            return b""
        self._told = True
        return self.folder.log.read_bytes()

    def _say(self, body: dict[str, Any]) -> None:
        try:
            if self._talk is None:
                raise OSError("it is gone")
            self._talk.say(body)
        except OSError as exc:
            raise stock.Cold(f"its template cannot be asked: {exc}") from None

    def _take(self, body: dict[str, Any]) -> bool:
        if "template" in body:
            self._template(body["template"])
        elif "lost" in body:
            self.stock.lose(body["lost"])
        else:
            return False
        return True

    def _template(self, words: Any) -> None:
        said = words if isinstance(words, dict) else {}
        if "ready" in said:
            resolve(self.reached, None)
        elif "refused" in said:
            reject(self.reached, stock.Cold(str(said["refused"])))
        elif "failed" in said:
            reject(self.reached, stock.Cold(f"making it failed: {said['failed']}"))
        else:
            self.stock.close()
            self._fail("the template has ended")

    def _fail(self, why: str) -> None:
        reject(self.reached, stock.Cold(why))


def own_environment() -> dict[str, str]:
    """What programs of ours need to find themselves."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


def resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def reject(future: asyncio.Future[Any], why: Exception) -> None:
    if not future.done():
        future.set_exception(why)
        future.exception()  # waited for or not, it is not an error of the loop
