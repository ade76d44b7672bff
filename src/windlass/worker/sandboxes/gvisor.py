"""Sandboxes with a kernel of their own: gVisor's ``runsc``, inside the cell that every sandbox has (see ``sentry``).

runsc is root in the user namespace of the sandbox and nowhere else, runs in its control groups, and dies with process
1 of the cell; so network, limits, files from outside and the end are those of every sandbox, and namespaces still stand
around whoever breaks out of the sentry. Commands are started by ``runsc exec``, on the caller's descriptors.
"""
from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from windlass import exception
from windlass.kit import clock, ids, tasks
from windlass.worker import folder as folders
from windlass.worker import linux, spec, uplink
from windlass.worker.sandboxes import box, entering, sentry, starting

_NAME = "box"
CHECKPOINT = ("checkpoint", "--image-path", f"{sentry.BUNDLE}/{sentry.MEMORY}", _NAME)
_UP_TIME, _LOOK, _ASKED = 30.0, 0.005, 10.0
_BEFORE = ("", "creating", "created")  # in the words of runsc's own record


async def visited(first: int, script: str) -> None:
    """Have ``ip`` change the network of a cell, from a thread of its own, which is in there from then on."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as alone:
        await asyncio.get_running_loop().run_in_executor(alone, _changed, first, script)


def _changed(first: int, script: str) -> None:
    its = os.open(f"/proc/{first}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(its, linux.NEWNET)
    finally:
        os.close(its)
    uplink.run(["ip", "-batch", "-"], script)


class Room(NamedTuple):
    """One sandbox as runsc has it."""

    home: box.Home
    runsc: sentry.Runsc
    open_files: int

    @property
    def bundle(self) -> Path:
        return self.home.folder.bundle / sentry.LEVEL

    def furnish(self, walls: spec.Box, inside: entering.Inside) -> None:
        """Write down what runsc shall run."""
        _write(self.bundle / "config.json", sentry.document(walls, sentry.process(inside, self.open_files)))

    def entry(self, inside: entering.Inside, *, restored: bool) -> entering.Inside:
        """The sandbox's own command, as the starter starts it."""
        more = ["restore", "--image-path", f"/{sentry.MEMORY}"] if restored else ["run"]
        return self._bare(inside, [*more, "--bundle", sentry.BUNDLE, _NAME], "entry")

    async def connect(self) -> None:
        """Make the link by which its ports are reached. Raises ``ExecutionError``."""
        await visited(self.home.record["pid"], sentry.PAIR)

    async def up(self, ended: asyncio.Future[int], time: clock.Clock) -> None:
        """Wait until its command runs, and its ports are reached. Raises ``ExecutionError`` where it cannot."""
        deadline = time.monotonic() + _UP_TIME
        while (state := self._state()) in _BEFORE:
            if ended.done():
                if (said := self._reason("entry")) or not self._log("entry").exists():
                    raise exception.ExecutionError(said or "runsc ended before the command had begun")
                return  # a short command, which began and was over between two looks: runsc has nothing to complain of
            if time.monotonic() > deadline:
                said = state or "it said nothing"
                raise exception.ExecutionError(f"runsc did not start the sandbox within {_UP_TIME:.0f} s: {said}")
            await time.sleep(_LOOK)
        await visited(self.home.record["pid"], sentry.OUTWARD)

    def _state(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            for path in (self.bundle / "state").glob("*.state"):
                return str(json.loads(path.read_text()).get("status", ""))
        return ""

    def execution(self, name: str, inside: entering.Inside) -> entering.Inside:
        """Another command: what the starter starts for it."""
        _write(self.bundle / f"{name}.json", sentry.process(inside, self.open_files))
        line = [
            "exec", "--process", f"{sentry.BUNDLE}/{name}.json",
            "--internal-pid-file", f"{sentry.BUNDLE}/{name}.pid", _NAME,
        ]  # fmt: skip
        return self._bare(inside, line, name)

    def pid(self, name: str) -> int:
        """The number that a command has inside; 0 while it has none."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.bundle / f"{name}.pid").read_text())
        return 0

    def refusal(self, name: str) -> starting.Refused:
        """Why a command did not begin."""
        said = self._reason(name)
        number = errno.ENOENT if re.search(r"no such file|not found|finding executable", said) else errno.EACCES
        return starting.Refused(said.rpartition(": ")[2] or "runsc did not say why", number)

    def order(self, *words: str) -> entering.Inside:
        """Another of runsc's own commands."""
        return self._bare(self.home.inside([]), [*words], "order")

    def drop(self, name: str) -> None:
        for kind in ("json", "pid", "log"):
            (self.bundle / f"{name}.{kind}").unlink(missing_ok=True)

    def _log(self, name: str) -> Path:
        return self.bundle / f"{name}.log"

    def _reason(self, name: str) -> str:
        with contextlib.suppress(OSError):
            for line in reversed(self._log(name).read_text(errors="replace").splitlines()):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    said = str(json.loads(line)["msg"])
                    if said:
                        return said.strip().splitlines()[0]
        return ""

    def _bare(self, inside: entering.Inside, words: Sequence[str], log: str) -> entering.Inside:
        line = [
            sentry.PROGRAM, "--root", f"{sentry.BUNDLE}/state",
            "--log", f"{sentry.BUNDLE}/{log}.log", "--log-format", "json",
            "--platform", self.runsc.platform, "--network", "sandbox", "--ignore-cgroups", "--overlay2=none",
            "--file-access=shared", *words,
        ]  # fmt: skip
        made: entering.Inside = {
            **inside, "argv": line, "env": {"PATH": "/"}, "cwd": "/", "uid": 0, "gid": 0, "groups": [], "bare": True,
        }  # fmt: skip
        return made


def bundle(folder: folders.Folder) -> Path:
    """The folder that runsc writes to, made: its own, and beside the files that commands see."""
    made = folder.bundle / sentry.LEVEL
    made.mkdir(mode=0o700)
    os.chown(made, spec.OWNER, spec.OWNER)
    return made


def _write(path: Path, body: Any) -> None:
    """It may hold secrets."""
    path.touch(0o600)
    os.chown(path, spec.OWNER, spec.OWNER)
    path.write_text(json.dumps(body))


class Commands:
    """``starting.Starting``'s part for commands, in one sandbox of this level."""

    def __init__(self, within: Room, starter: starting.Starting, owner: tasks.Tasks, time: clock.Clock) -> None:
        self._room = within
        self._starter = starter
        self._owner = owner
        self._time = time

    async def execute(
        self, name: str, inside: entering.Inside, ends: Sequence[int], ended: Callable[[int], None]
    ) -> int:
        """As ``Starting.execute``; returns when the command has begun."""
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        begun = False

        def finished(code: int) -> None:
            over.set_result(code)
            if begun:
                self._room.drop(name)
                ended(code)

        body = self._room.execution(name, inside)
        try:
            pid = await self._starter.execute(name, body, ends, finished)
            await self._begun(name, over)
        except BaseException:
            self._room.drop(name)
            raise
        begun = True
        if over.done():
            self._room.drop(name)
            ended(over.result())
        return pid

    async def _begun(self, name: str, over: asyncio.Future[int]) -> None:
        deadline = self._time.monotonic() + _UP_TIME
        while not self._room.pid(name):
            if over.done() and not self._room.pid(name):
                raise self._room.refusal(name)
            if self._time.monotonic() > deadline:
                self._starter.kill(name)
                raise exception.ExecutionError(f"runsc did not start the command within {_UP_TIME:.0f} s")
            await self._time.sleep(_LOOK)

    def kill(self, name: str) -> None:
        """Kill a command: the end of runsc alone would leave it running."""
        if pid := self._room.pid(name):
            self._owner.start(self._killed(name, pid), f"kill of {name}")
        else:
            self._starter.kill(name)

    def resize(self, name: str, rows: int, cols: int) -> None:
        """As ``execs.Starter`` has it: the sentry has that terminal itself."""

    async def _killed(self, name: str, pid: int) -> None:
        with contextlib.suppress(exception.Error):
            await ordered(self._room, self._starter, "kill", "--pid", str(pid), _NAME, "KILL")


async def ordered(within: Room, starter: starting.Starting, *words: str, seconds: float = _ASKED) -> None:
    """Have runsc do something, and wait for it. Raises ``ExecutionError`` with its words."""
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    name = ids.new("ex")
    try:
        await starter.execute(name, within.order(*words), [null] * 3, over.set_result)
    finally:
        os.close(null)
    try:
        code = await asyncio.wait_for(over, seconds)
    except asyncio.TimeoutError:
        starter.kill(name)
        raise exception.ExecutionError(f"runsc {words[0]} did not end within {seconds:.0f} s") from None
    if code:
        raise exception.ExecutionError(f"runsc {words[0]} failed: {within._reason('order') or f'exit code {code}'}")
