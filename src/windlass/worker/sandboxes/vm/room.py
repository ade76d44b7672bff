"""The worker's side of sandboxes in virtual machines: what is written down for them, and how they are spoken to."""
from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from windlass import exception
from windlass.kit import clock, ids
from windlass.worker import folder as folders
from windlass.worker import packets, spec
from windlass.worker.sandboxes import box, entering, starting
from windlass.worker.sandboxes.vm import machine, parts, plan

_UP_TIME = {parts.KVM: 30.0, parts.TCG: 180.0}
_LOOK, _ANSWER_TIME, _CONNECT_TIME = 0.01, {parts.KVM: 30.0, parts.TCG: 120.0}, 10.0


class Room(NamedTuple):
    """One sandbox as its machine has it. ``staged``: what ``parts.made`` gave."""

    home: box.Home
    parts: parts.Parts

    @property
    def bundle(self) -> Path:
        return bundle_of(self.home.folder)

    def furnish(self, walls: spec.Box, asked: plan.Asked, inside: entering.Inside) -> entering.Inside:
        """Write down what shall run; the program in the cell, as the starter starts it."""
        path = self.bundle / "machine.json"
        path.touch(0o600)
        os.chown(path, spec.OWNER, spec.OWNER)
        entry = {key: inside[key] for key in ("argv", "env", "cwd", "uid", "gid", "groups")}
        path.write_text(json.dumps(plan.words(walls, self.parts, asked, {**entry, "pty": inside.get("pty", False)})))  # type: ignore[typeddict-item]
        return plan.bare(inside)

    async def up(self, ended: asyncio.Future[int], time: clock.Clock) -> None:
        """Wait until its command runs. Raises ``ExecutionError`` where it cannot."""
        seconds = _UP_TIME[self.parts.accel]
        deadline = time.monotonic() + seconds
        while (state := self._state()) not in ("up", machine.HUNGRY):
            if state or ended.done():
                raise exception.ExecutionError(state.removeprefix("failed ") or "its machine ended before it was up")
            if time.monotonic() > deadline:
                raise exception.ExecutionError(f"its virtual machine was not up within {seconds:.0f} s")
            await time.sleep(_LOOK)

    def _state(self) -> str:
        return _state(self.home.folder)


def hungry(folder: folders.Folder) -> bool:
    """Whether the kernel inside has killed the sandbox's own command for memory."""
    return _state(folder) == machine.HUNGRY


def _state(folder: folders.Folder) -> str:
    with contextlib.suppress(OSError):
        return _read(bundle_of(folder) / "state")
    return ""


def bundle_of(folder: folders.Folder) -> Path:
    return folder.bundle / parts.LEVEL


def bundle(folder: folders.Folder) -> Path:
    """The folder that the machine writes to, made: its own, and beside the files that commands see."""
    made = bundle_of(folder)
    made.mkdir(mode=0o700)
    os.chown(made, spec.OWNER, spec.OWNER)
    return made


@contextlib.contextmanager
def _itself(path: Path, kind: Callable[[int], bool]) -> Any:
    """What is at ``path``, by a name that leads nowhere else: whoever broke out of the machine may write there."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not kind(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    with _itself(path, stat.S_ISREG) as name, open(name, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return file.read(4096)


class Machines:
    """Conversations with the programs in the cells, one for each sandbox."""

    def __init__(self) -> None:
        self._talks: dict[str, packets.Conversation] = {}
        self._told: dict[str, dict[str, Callable[[int], None]]] = {}

    async def ask(
        self, home: box.Home, body: dict[str, Any], descriptors: Sequence[int] = (), *, seconds: float,
        ended: Callable[[int], None] | None = None,
    ) -> int:  # fmt: skip
        """The pid that it answered. Raises ``starting.Refused``, and ``ExecutionError`` where it cannot be asked."""
        try:
            talk = self._talk(home)
            if ended is not None:
                self._told[home.folder.container_id][body["id"]] = ended
            said = await talk.ask(body["id"], body, seconds, descriptors)
        except asyncio.TimeoutError:
            raise exception.ExecutionError("the sandbox's machine did not answer in time") from None
        except OSError as exc:
            raise exception.ConflictError(f"the sandbox's machine cannot be asked: {exc}") from None
        if "failed" in said:
            raise starting.Refused(str(said["failed"])[:1000], _number(said.get("errno")))
        return _number(said.get("pid"))

    def tell(self, home: box.Home, body: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._talk(home).say(body)

    def forget(self, home: box.Home, name: str) -> None:
        self._told.get(home.folder.container_id, {}).pop(name, None)

    def _talk(self, home: box.Home) -> packets.Conversation:
        name = home.folder.container_id
        if (known := self._talks.get(name)) is not None:
            return known
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        made.setblocking(False)  # where nobody accepts it is an error, and no wait of the whole worker
        try:
            with _itself(bundle_of(home.folder) / "sock", stat.S_ISSOCK) as path:
                made.connect(path)
        except OSError:
            made.close()
            raise
        told: dict[str, Callable[[int], None]] = {}
        talk = packets.Conversation(made, told=lambda said: _heard(told, said), over=lambda: self._lost(name))
        self._talks[name], self._told[name] = talk, told
        talk.listen()
        return talk

    def _lost(self, name: str) -> None:
        self._talks.pop(name, None)
        for ended in self._told.pop(name, {}).values():
            ended(137)


def _heard(told: dict[str, Callable[[int], None]], said: dict[str, Any]) -> bool:
    if "exit" not in said:
        return False
    if (ended := told.pop(str(said.get("id")), None)) is not None:
        ended(_number(said["exit"]) & 0xFF)
    return True


def _number(said: object) -> int:
    return said if isinstance(said, int) else 0


class Commands:
    """``starting.Starting``'s part for commands, in one sandbox of this level."""

    def __init__(self, home: box.Home, machines: Machines, accel: str) -> None:
        self._home = home
        self._machines = machines
        self._seconds = _ANSWER_TIME[accel]

    async def execute(
        self, name: str, inside: entering.Inside, ends: Sequence[int], ended: Callable[[int], None]
    ) -> int:
        """As ``Starting.execute``."""
        body = {"op": "exec", "id": name, "inside": inside}
        try:
            return await self._machines.ask(self._home, body, ends, seconds=self._seconds, ended=ended)
        except BaseException as exc:
            self._machines.forget(self._home, name)
            if not isinstance(exc, starting.Refused):
                self.kill(name)
            raise

    def kill(self, name: str) -> None:
        self._machines.tell(self._home, {"op": "kill", "id": name})

    def resize(self, name: str, rows: int, cols: int) -> None:
        self._machines.tell(self._home, {"op": "resize", "id": name, "rows": rows, "cols": cols})

    async def connect(self, port: int) -> socket.socket:
        """A connection with what listens at ``port`` of the machine's loopback. Raises ``ConflictError``."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        body = {"op": "connect", "id": ids.new("ex"), "port": port}
        try:
            with theirs:
                await self._machines.ask(self._home, body, [theirs.fileno()], seconds=_CONNECT_TIME)
        except starting.Refused:
            ours.close()
            raise exception.ConflictError(f"nothing listens at port {port} of the sandbox") from None
        except BaseException:
            ours.close()
            raise
        return ours

    async def sync(self) -> None:
        """Have everything that was written reach the sandbox's files."""
        await self._machines.ask(self._home, {"op": "sync", "id": ids.new("ex")}, seconds=self._seconds)
