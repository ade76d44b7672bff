"""The user's terminal inside the container: a pty in place of descriptors 0, 1 and 2 until the input ends.

    user code ── 0, 1, 2: slave ─ pty ─ master ── library's thread ──► terminal.output ──► the user's screen
                                                              ◄── keys of terminal.open ──

Imported on the first ``interact()`` or ``breakpoint()`` only: nobody else pays for it.
"""
from __future__ import annotations

import _thread
import asyncio
import fcntl
import math
import os
import signal
import struct
import sys
import termios
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from windlass import exception
from windlass.client import bridge, session
from windlass.kit import descriptors
from windlass.runner import marks
from windlass.wire import peer

if TYPE_CHECKING:
    from windlass.runner import work as work_module

_CHUNK = 32 * 1024
_LAST_WORDS = 3.0  # seconds for the user's screen to take what was printed last
_AGAIN = 60.0  # seconds for a lost way to the user's terminal to be found again
_PAUSE = 0.1


class Terminal:
    """Built on first use, in user code's thread; serves one input after the other."""

    def __init__(self, work: work_module.Work) -> None:
        self._work = work
        self._line: Line | None = None
        self._saved: list[int] = []
        self._stdin: Any = None
        self._handlers: dict[int, Any] = {}
        self._unmark: Any = None
        self._term = False
        self.lease: work_module.Lease | None = None
        """The last input that had the terminal."""

    @property
    def attached(self) -> bool:
        return self._line is not None

    def attach(self) -> None:
        """Returns when the user's terminal is attached to this process.

        Raises:
            InvalidError: no input runs, or the app does not run interactively.
            InteractiveTimeoutError: another container has the terminal.
        """
        if self.attached:
            return
        running = self._work.running
        if running is None:
            raise exception.InvalidError("a terminal is attached while a function runs, not while it is imported")
        lease = running.leases[0]
        marks.flush()
        line = Line(lease.input_id)
        master, slave = os.openpty()
        self._work.untimed = True
        try:
            bridge.run(line.open())
        except BaseException:
            self._work.untimed = False
            os.close(master)
            os.close(slave)
            raise
        # Nothing may interrupt us halfway; what was asked for meanwhile comes when the door opens again.
        interrupts = self._work.interrupts
        ours = _thread.get_ident() == interrupts.main and interrupts.is_open
        if ours:
            interrupts.shut()
        try:
            self._take(line, master, slave)
            self.lease = lease
        finally:
            if ours:
                interrupts.open()

    def _take(self, line: Line, master: int, slave: int) -> None:
        _prepare(slave)
        self._line = line
        self._saved = [os.dup(number) for number in range(3)]
        if _thread.get_ident() == self._work.interrupts.main:  # only there signals can be handled
            self._become_controlling(slave)
        for number in range(3):
            os.dup2(slave, number)
        os.close(slave)
        self._unmark = marks.quiet()
        self._stdin, sys.stdin = sys.stdin, open(0, encoding="utf-8", errors="replace", closefd=False)
        if "TERM" not in os.environ and line.about.get("term"):
            os.environ["TERM"], self._term = line.about["term"], True
        bridge.run(line.begin(master))

    def _become_controlling(self, slave: int) -> None:
        """So that Ctrl-C, and shells that user code starts, work as in any terminal."""
        self._handlers = {
            signal.SIGINT: signal.signal(signal.SIGINT, self._work.interrupts.typed),
            # A function that does nothing, not SIG_IGN: programs started from here would inherit that.
            signal.SIGHUP: signal.signal(signal.SIGHUP, lambda *_: None),
        }
        try:
            if os.getsid(0) != os.getpid():
                os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        except OSError:
            pass  # outside of a container: a leader of a group, or somebody with a terminal already

    def detach(self) -> None:
        """The end of the input: everything as it was. Does nothing when nothing is attached."""
        line, self._line = self._line, None
        if line is None:
            return
        sys.settrace(None)  # a debugger that was left running would go on with our own code
        marks.flush()
        if self._handlers:
            try:
                fcntl.ioctl(0, termios.TIOCNOTTY)
            except OSError:
                pass
        for number, saved in enumerate(self._saved):
            os.dup2(saved, number)
            os.close(saved)
        self._saved = []
        sys.stdin = self._stdin
        self._unmark()
        if self._term:
            del os.environ["TERM"]
            self._term = False
        bridge.run(line.end())
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        self._work.untimed = False


def _prepare(slave: int) -> None:
    """Ctrl-\\ ends the run at the user's side and Ctrl-Z has no shell to come back to: neither is for us."""
    mode = termios.tcgetattr(slave)
    mode[6][termios.VQUIT] = mode[6][termios.VSUSP] = b"\0"
    termios.tcsetattr(slave, termios.TCSANOW, mode)


class Line:
    """The way between the pty and the user's screen and keys. Lives on the library's loop."""

    def __init__(self, input_id: str) -> None:
        self._input_id = input_id
        self._stream: AsyncGenerator[peer.Reply, None] | None = None
        self._master = -1
        self._lost = False
        self._pump: asyncio.Task[None] | None = None
        self.about: dict[str, Any] = {}
        """What the user's terminal is."""

    async def open(self) -> None:
        """Wait for our turn."""
        self._home = session.current()
        patience = session.Patience(_AGAIN, calm=math.inf)
        while True:
            stream = self._home.stream("terminal.open", {"input_id": self._input_id})
            try:
                self.about = (await stream.__anext__()).body
                self._stream, self._lost = stream, False
                return
            except exception.ServiceError as exc:
                await stream.aclose()
                await patience.wait(exc)
            except BaseException:
                await stream.aclose()
                raise

    async def begin(self, master: int) -> None:
        self._master = master
        os.set_blocking(master, False)
        self._resize(self.about)
        self._pump = self._home.tasks.start(self._run(), "terminal")

    async def end(self) -> None:
        """After our side of the pty is closed: what was printed last arrives, then the terminal is given back."""
        if self._pump is not None:
            await asyncio.wait([self._pump], timeout=0 if self._lost else _LAST_WORDS)
            self._pump.cancel()  # a program that user code left behind still holds the pty
            await asyncio.wait([self._pump], timeout=_LAST_WORDS)

    # -- inside -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        ways = [self._home.tasks.start(self._keys(), "keys"), self._home.tasks.start(self._output(), "screen")]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            if self._stream is not None:
                await self._stream.aclose()
            os.close(self._master)  # user code that still reads or prints is told so, as by any lost terminal

    async def _keys(self) -> None:
        while True:
            try:
                assert self._stream is not None
                async for reply in self._stream:
                    await self._typed(reply)
            except exception.ServiceError:
                pass
            await self._again()

    async def _typed(self, reply: peer.Reply) -> None:
        self._resize(reply.body)
        for data in reply.attachments:
            await self._write(data)
        if reply.body.get("eof"):
            await self._write(b"\x04")

    async def _again(self) -> None:
        """The connection, or the user's, was lost: both ends come back if they can."""
        self._lost = True
        patience = session.Patience(_AGAIN, calm=math.inf)
        while True:
            try:
                await self.open()
                self._resize(self.about)
                return
            except exception.ConflictError:  # stopped or cancelled: a debugger that waits for keys shall not wait on
                raise
            except exception.Error as exc:
                await patience.wait(exc)

    async def _output(self) -> None:
        while True:
            await descriptors.ready(self._master)
            try:
                data = os.read(self._master, _CHUNK)
            except BlockingIOError:
                continue
            except OSError:  # nobody holds the other side any more
                return
            await self._show(data)

    async def _show(self, data: bytes) -> None:
        while True:
            try:
                await self._home.request("terminal.output", {"terminal_id": self.about["terminal_id"]}, [data])
                return
            except exception.Error:  # the way is being found again, or ``_keys`` gives up
                await asyncio.sleep(_PAUSE)

    async def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await descriptors.ready(self._master, writing=True)
            except OSError:
                return

    def _resize(self, size: dict[str, Any]) -> None:
        if size.get("rows") and size.get("cols"):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", size["rows"], size["cols"], 0, 0))
