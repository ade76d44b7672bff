"""Commands in sandboxes: their output waits until somebody has read it (``spools``), their end is kept for a while.

Both ends of their streams are in the starter's custody as well (``custody``): the next worker goes on where one was
killed.
"""
from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import functools
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from windlass import exception
from windlass.kit import clock, descriptors, tasks
from windlass.wire.messages import sandboxes as messages
from windlass.worker import folder as folders
from windlass.worker.sandboxes import box, custody, entering, progress, spools, starting

_log = logging.getLogger(__name__)
KEPT = 600.0  # seconds that the output of a finished command can be read
_SOON = 0.01
_GRACE = 2.0  # seconds that output may stay open after the command has ended (its children hold it)
_MOST = 256  # commands at once in one sandbox
_MOST_KEPT = 4096  # finished ones of all sandboxes whose output waits for readers
_SET_PIPE_SIZE = 1031
_END = b"\x04"  # typed at a terminal
_TIMED_OUT, _NOT_FOUND = -1, (2, 20)


OWN = ""
"""The name of a sandbox's own command among those in it."""


class Starter(Protocol):
    """What starts commands in one sandbox (``starting.Starting``, ``gvisor.Commands``)."""

    async def execute(
        self, name: str, inside: entering.Inside, ends: Sequence[int], ended: Callable[[int], None]
    ) -> int:
        """Start one on the descriptors ``ends``, and call ``ended`` with its exit code. Its pid."""

    def kill(self, name: str) -> None:
        """Kill it."""

    def resize(self, name: str, rows: int, cols: int) -> None:
        """Its terminal has another size. Whoever uses that terminal itself has noticed. ``name``: or ``OWN``."""


class Exec:
    """One command."""

    def __init__(self, container_id: str) -> None:
        self.container_id = container_id
        self.spools: dict[str, spools.Spool] = {}
        self.pumps: list[asyncio.Task[None]] = []
        self.code: int | None = None
        self.ended = asyncio.Event()
        self.forgotten = asyncio.Event()
        self.feeding = asyncio.Lock()
        self.input: int | None = None
        self.fed = progress.Progress(spools.FED)
        self.terminal: int | None = None
        self.stop: Callable[[], None] = lambda: None
        """Kills it, once it is under way."""
        self.drop: Callable[[], None] = lambda: None
        """Lets nobody take it over."""
        self.shut: Callable[[], None] = lambda: None
        """Lets nobody else hold its input open."""
        self.emptied: Callable[[int], None] = lambda stream: None
        """Lets nobody else hold the pipe of one of its streams, which has ended."""
        self.resized: Callable[[int, int], None] = lambda rows, cols: None
        self.late = False
        """Its time was over."""

    def resize(self, rows: int, cols: int) -> None:
        if self.terminal is not None:
            entering.resize(self.terminal, rows, cols)
            self.resized(rows, cols)

    async def write(self, data: bytes, offset: int) -> None:
        """Write what is new of ``data``; waits while the command does not read."""
        left = self.fed.missing(data, offset)
        if left is None:
            raise exception.InvalidError(f"input continues at {self.fed.written}, not at {offset}")
        while left and (count := await self._put(left)):
            self.fed.wrote(count, self._note)
            left = left[count:]

    @property
    def _note(self) -> int:
        """The file in which is noted what was written; -1 where all output is over and was empty."""
        return next(iter(self.spools.values())).file

    async def _put(self, data: bytes) -> int:
        """How much of it was written; 0 where nobody will ever read."""
        while self.input is not None and not self.ended.is_set():
            try:
                return os.write(self.input, data)
            except BlockingIOError:
                await self._writable()
            except OSError:
                break
        return 0

    async def _writable(self) -> None:
        assert self.input is not None
        with contextlib.suppress(asyncio.TimeoutError):  # a command that has ended reads no more
            await asyncio.wait_for(descriptors.ready(self.input, writing=True), _GRACE)

    async def end_input(self, offset: int) -> None:
        """After ``offset`` bytes. A terminal is told, and goes on."""
        if self.input is None:
            return
        if self.terminal is not None:
            if self.fed.ends(offset, self._note):
                await self._put(_END)
            return
        os.close(self.input)
        self.input = None
        self.shut()

    def close(self) -> None:
        if self.input is not None and self.terminal is None:
            os.close(self.input)
        if self.terminal is not None:
            os.close(self.terminal)
        self.input = self.terminal = None


class Execs:
    """All commands of all sandboxes here. ``changed`` is told which sandbox has another number of them."""

    def __init__(self, owner: tasks.Tasks, changed: Callable[[str], None], time: clock.Clock) -> None:
        self._owner = owner
        self._changed = changed
        self._time = time
        self._known: dict[str, Exec] = {}

    def running(self, container_id: str) -> int:
        return sum(1 for one in self._known.values() if one.container_id == container_id and one.code is None)

    def find(self, identity: str) -> Exec:
        one = self._known.get(identity)
        if one is None:
            raise exception.NotFoundError(
                f"no command {identity}",
                hint=f"Output is kept for {KEPT / 60:.0f} minutes after a command's end, or until the worker ends.",
            )
        return one

    def forget(self, identity: str) -> None:
        """Of one that has ended: nobody will ask for it."""
        if (one := self._known.get(identity)) is not None:
            one.forgotten.set()

    async def begin(self, home: box.Home, starter: Starter, request: messages.SandboxExec) -> None:
        """Start a command. Repeating is harmless. Raises ``InvalidError`` where there is no such program."""
        identity = request["exec_id"]
        if identity in self._known:
            return
        if self.running(home.folder.container_id) >= _MOST:
            raise exception.ResourceExhaustedError(f"{_MOST} commands run in this sandbox already")
        one = self._known[identity] = Exec(home.folder.container_id)
        ends: list[int] = []
        try:
            _open(one, home, request, ends)
            inside = home.inside(request["command"])
            inside["env"] = {**inside["env"], **({"TERM": "xterm-256color"} if request.get("pty") else {})}
            inside["env"].update(request.get("env", {}))
            inside["pty"] = bool(request.get("pty"))
            inside["cwd"] = request.get("workdir") or inside["cwd"]
            await self._execute(identity, one, starter, inside, ends, request)
        except starting.Refused as exc:
            self._never(identity, one)
            if folders.is_ending(home.record["pid"], home.record["pid_start"]):
                raise exception.ConflictError("the sandbox has finished") from None
            raise _refusal(exc, request) from None
        except BaseException:
            self._never(identity, one)
            raise
        finally:
            for end in ends:
                os.close(end)
        one.stop = lambda: starter.kill(identity)
        one.resized = lambda rows, cols: starter.resize(identity, rows, cols)
        self._look_after(identity, one, request.get("timeout", 0.0))

    async def _execute(
        self, identity: str, one: Exec, starter: Starter, inside: entering.Inside, ends: Sequence[int],
        request: messages.SandboxExec,
    ) -> None:  # fmt: skip
        ended = functools.partial(self._ended, one)
        if not isinstance(starter, starting.Starting):  # who has others between cannot hand them over
            await starter.execute(identity, inside, ends, ended)
            return
        one.drop, one.shut = (functools.partial(act, identity) for act in (starter.forget, starter.close_input))
        one.emptied = functools.partial(starter.emptied, identity)
        kept, note = _custody(one, request, self._time.now())
        await starter.execute(identity, inside, ends, ended, kept, note)

    def take_over(self, starters: Iterable[custody.Earlier]) -> None:
        """Go on with what commands an earlier worker had under way."""
        for earlier in starters:
            try:
                found = earlier.take()
            except OSError as exc:
                _log.warning("commands of an earlier worker are lost: %s", exc)
                earlier.close()
                continue
            running: dict[str, Callable[[int], None]] = {}
            over: list[Callable[[], None]] = []
            for kept in found:
                try:
                    ended = functools.partial(self._ended, self._again(kept, earlier))
                except OSError as exc:
                    _log.warning("command %s of an earlier worker is lost: %s", kept.name, exc)
                    kept.close()
                    earlier.forget(kept.name)
                    continue
                if kept.code is None:
                    running[kept.name] = ended
                else:
                    over.append(functools.partial(ended, kept.code))
            earlier.listen(running)
            for end in over:
                end()

    def _again(self, kept: custody.Kept, earlier: custody.Earlier) -> Exec:
        """Raises ``OSError``; its descriptors are as they were then."""
        one = Exec(kept.note["container_id"])
        one.input = kept.input if kept.input >= 0 else None
        one.terminal = one.input if kept.note["pty"] else None
        ends = zip(kept.outputs[::2], kept.outputs[1::2], strict=True)
        for (source, keep), (pipe, file) in zip(kept.note["sources"].items(), ends, strict=True):
            one.spools[source] = spools.Spool(file, pipe, keep=keep)
        one.fed.take_over(one._note)
        self._known[kept.name] = one
        acts = (earlier.kill, earlier.forget, earlier.end_input)
        one.stop, one.drop, one.shut = (functools.partial(act, kept.name) for act in acts)
        one.emptied = functools.partial(earlier.emptied, kept.name)
        deadline = kept.note["deadline"]
        self._look_after(kept.name, one, max(_SOON, deadline - self._time.now()) if deadline else 0.0)
        return one

    def _look_after(self, identity: str, one: Exec, timeout: float) -> None:
        for stream, (source, output) in enumerate(one.spools.items()):
            output.failed, output.emptied = one.drop, functools.partial(one.emptied, stream)
            one.pumps.append(self._owner.start(output.fill(), f"{source} of {identity}"))
        self._owner.start(self._follow(identity, one, timeout), f"life of {identity}")
        self._changed(one.container_id)

    def _never(self, identity: str, one: Exec) -> None:
        self._known.pop(identity, None)
        one.ended.set()  # somebody may wait for it already
        for output in one.spools.values():
            output.close()
            os.close(output.source)
        one.close()

    async def _follow(self, identity: str, one: Exec, timeout: float) -> None:
        try:
            await asyncio.wait_for(one.ended.wait(), timeout or None)
        except asyncio.TimeoutError:
            one.late = True
            one.stop()
            await one.ended.wait()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(one.forgotten.wait(), KEPT)
        del self._known[identity]
        one.drop()
        for pump in one.pumps:
            pump.cancel()
        await asyncio.gather(*one.pumps, return_exceptions=True)
        for output in one.spools.values():
            output.close()

    def _ended(self, one: Exec, code: int) -> None:
        one.code = _TIMED_OUT if one.late else code
        one.ended.set()
        finished = [known for known in self._known.values() if known.code is not None]
        for known in finished[: max(0, len(finished) - _MOST_KEPT)]:
            known.forgotten.set()
        self._owner.start(_let_go(one), "output that stays open")
        self._changed(one.container_id)


async def _let_go(one: Exec) -> None:
    """Children may hold its output open for ever: what they write is not its output any more."""
    if one.pumps:
        await asyncio.wait(one.pumps, timeout=_GRACE)
    for output in one.spools.values():
        output.let_go()
    async with one.feeding:
        one.close()


def _open(one: Exec, home: box.Home, request: messages.SandboxExec, ends: list[int]) -> None:
    """Note the command's descriptors in ``ends`` and ours in ``one``, also of an attempt that fails."""
    folder, unread = home.folder.path, request.get("discard", [])
    if request.get("pty"):
        master, slave = entering.terminal(home.record["pid"])
        ends.append(slave)
        one.terminal = one.input = master
        one.resize(request.get("rows", entering.ROWS), request.get("cols", entering.COLS))
        os.set_blocking(master, False)
        one.spools["stdout"] = spools.opened(folder, os.dup(master), keep="stdout" not in unread)
        return
    theirs, one.input = os.pipe()
    ends.append(theirs)
    os.set_blocking(one.input, False)
    for source in ("stdout", "stderr"):
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):  # as many as the user may have: else it is slower
            fcntl.fcntl(reading, _SET_PIPE_SIZE, spools.SPLICED)
        ends.append(writing)
        one.spools[source] = spools.opened(folder, reading, keep=source not in unread)


def _custody(one: Exec, request: messages.SandboxExec, now: float) -> tuple[list[int], custody.Note]:
    """What the next worker needs of it."""
    unread, timeout = request.get("discard", []), request.get("timeout", 0.0)
    note: custody.Note = {
        "container_id": one.container_id, "sources": {source: source not in unread for source in one.spools},
        "pty": one.terminal is not None, "deadline": now + timeout if timeout else 0.0,
    }  # fmt: skip
    ends = [end for output in one.spools.values() for end in (output.source, output.file)]
    assert one.input is not None
    return [one.input, *ends], note


def _refusal(exc: starting.Refused, request: Any) -> exception.Error:
    name = str(request["command"][0])[:200]
    if exc.number == errno.ESRCH:
        return exception.ConflictError("the sandbox has finished")
    if exc.number in (errno.EMFILE, errno.ENFILE):
        return exception.ResourceExhaustedError(f"the machine of this sandbox can start no more commands now: {exc}")
    if exc.number in _NOT_FOUND:
        where = request.get("workdir")
        return exception.InvalidError(
            f"the command {name!r} cannot be run: {exc}",
            hint=f"Is there such a program in the sandbox{f', and a folder {where}' if where else ''}?",
        )
    if exc.number:
        return exception.InvalidError(f"the command {name!r} cannot be run: {exc}")
    return exception.ExecutionError(f"the command {name!r} could not be started: {exc}")
