"""Lending the user's terminal to containers while an app runs interactively.

    terminal.attach ── open ──► show.terminal_opened      keys ──► terminal.input
                    ── data ──► show.terminal_data
                    ── close ─► show.terminal_closed

Knows no terminal itself: whoever shows progress (``output.Output``) has one.
"""
from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from windlass import exception
from windlass.client import output, session
from windlass.kit import tasks
from windlass.wire import codec, peer
from windlass.wire.messages import terminals

_MUCH = 64
"""Pieces of input under way after which the keyboard waits."""

_LOGS_FIRST = 0.3
"""Seconds for what the container printed before it asked: that came by the log, which is slower."""


class Lender:
    """Between ``begin`` and ``end`` containers of the app may have the terminal. Lives on the library's loop."""

    def __init__(self, home: session.Session, app_id: str, show: output.Output) -> None:
        self._home = home
        self._app_id = app_id
        self._show = show
        self._terminal_id = ""
        self._container_id = ""
        self._leave: Callable[[], None] = lambda: None
        self._opening: asyncio.TimerHandle | None = None
        self._early: list[bytes] = []
        """What came for the screen before it is opened."""
        self._keys: asyncio.Queue[tuple[terminals.TerminalInput, bytes]] = asyncio.Queue()
        self._owner = tasks.Tasks(on_failure=self._failed)

    async def begin(self) -> None:
        """Returns when the server knows of us, before any container can ask."""
        events = await self._attach()
        self._owner.start(self._serve(events), "terminal")
        self._owner.start(self._send(), "keys")

    async def end(self) -> None:
        """The terminal is the user's again, whatever containers do with theirs."""
        await self._owner.close()
        self._leave()
        if self._opening is not None:
            self._opening.cancel()
        self._show.terminal_closed()

    def _failed(self, name: str, exc: BaseException) -> None:
        self._show.terminal_closed()
        self._show.notice(f"Containers cannot have the terminal any more: {exc}")

    async def _attach(self) -> _Events:
        patience, pace = session.Patience(), session.Pace()
        while True:
            events = _Events(self._event)
            about: terminals.TerminalAttach = {"app_id": self._app_id, **self._show.terminal_about()}
            try:
                link = await self._home.link()
                self._leave = functools.partial(
                    link.leave, link.begin(codec.STREAM, "terminal.attach", about, (), events)
                )
                await events.attached
                return events
            except exception.ServiceError as exc:
                await patience.wait(exc)
            except exception.ThrottledError as exc:
                await pace.wait(exc)

    async def _serve(self, events: _Events) -> None:
        while True:
            try:
                await events.ended
                return
            except exception.ServiceError:  # lost; a container that had the terminal asks for it again
                self._close()
            events = await self._attach()

    def _event(self, event: terminals.TerminalEvent, pieces: list[bytes]) -> None:
        if event["event"] == "open":
            self._terminal_id, self._container_id = event["terminal_id"], event["container_id"]
            self._opening = asyncio.get_running_loop().call_later(_LOGS_FIRST, self._open)
        elif event["event"] == "data" and self._opening is not None:
            self._early += pieces
        elif event["event"] == "data":
            for data in pieces:
                self._show.terminal_data(data)
        elif event["event"] == "close":
            self._close()

    def _open(self) -> None:
        self._opening = None
        early, self._early = self._early, []
        try:
            self._show.terminal_opened(self._container_id, self._feeder(asyncio.get_running_loop()))
        except Exception as exc:  # noqa: BLE001 - such as termios.error: the terminal has gone
            self._failed("terminal", exc)
        for data in early:
            self._show.terminal_data(data)

    def _close(self) -> None:
        if self._opening is not None:  # what the container printed is shown all the same
            self._opening.cancel()
            self._open()
        self._show.terminal_closed()

    def _feeder(self, loop: asyncio.AbstractEventLoop) -> output.Keys:
        terminal_id = self._terminal_id

        def feed(body: terminals.TerminalInput, data: bytes = b"") -> bool:
            if body or data:
                item: Any = ({**body, "terminal_id": terminal_id}, data)
                loop.call_soon_threadsafe(self._keys.put_nowait, item)
            return self._keys.qsize() < _MUCH

        return feed

    async def _send(self) -> None:
        while True:
            body, data = await self._keys.get()
            try:
                await self._home.request("terminal.input", body, [data] if data else [])
            except exception.Error:
                pass  # the container has given the terminal back: these keys have no reader


class _Events:
    """What the server wants of the terminal, done as soon as it arrives: a result that comes behind finds it done, and
    the program's own ``input()`` a terminal that is the program's."""

    def __init__(self, tell: Callable[[terminals.TerminalEvent, list[bytes]], None]) -> None:
        self._tell = tell
        loop = asyncio.get_running_loop()
        self.attached: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        """With the error, if there is one."""

    def item(self, reply: peer.Reply) -> None:
        if self.ended.done():
            return
        if not self.attached.done():
            self.attached.set_result(None)
        try:
            self._tell(reply.body, reply.attachments)
        except Exception as exc:  # noqa: BLE001 - such as termios.error: the terminal has gone
            self.ended.set_exception(exc)

    def over(self, reply: peer.Reply, error: exception.Error | None) -> None:
        if self.ended.done():
            return
        if error is not None:
            waited_for = self.ended if self.attached.done() else self.attached
            waited_for.set_exception(error)
            return
        if not self.attached.done():
            self.attached.set_result(None)
        self.ended.set_result(None)
