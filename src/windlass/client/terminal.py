"""Lending the user's terminal to containers while an app runs interactively.

    terminal.attach ── open ──► show.terminal_opened      keys ──► terminal.input
                    ── data ──► show.terminal_data
                    ── close ─► show.terminal_closed

Knows no terminal itself: whoever shows progress (``output.Output``) has one.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from windlass import exception
from windlass.client import output, session
from windlass.kit import tasks
from windlass.wire import peer
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
        self._keys: asyncio.Queue[tuple[terminals.TerminalInput, bytes]] = asyncio.Queue()
        self._owner = tasks.Tasks(on_failure=self._failed)

    async def begin(self) -> None:
        """Returns when the server knows of us, before any container can ask."""
        stream = await self._attach()
        self._owner.start(self._serve(stream), "terminal")
        self._owner.start(self._send(), "keys")

    async def end(self) -> None:
        """The terminal is the user's again, whatever containers do with theirs."""
        await self._owner.close()
        self._show.terminal_closed()

    def _failed(self, name: str, exc: BaseException) -> None:
        self._show.terminal_closed()
        self._show.notice(f"Containers cannot have the terminal any more: {exc}")

    async def _attach(self) -> AsyncGenerator[peer.Reply, None]:
        patience = session.Patience()
        while True:
            about: terminals.TerminalAttach = {"app_id": self._app_id, **self._show.terminal_about()}
            stream = self._home.stream("terminal.attach", about)
            try:
                await stream.__anext__()
                return stream
            except exception.ServiceError as exc:
                await stream.aclose()
                await patience.wait(exc)
            except BaseException:
                await stream.aclose()
                raise

    async def _serve(self, stream: AsyncGenerator[peer.Reply, None]) -> None:
        while True:
            try:
                async for reply in stream:
                    await self._event(reply)
                return
            except exception.ServiceError:  # lost; a container that had the terminal asks for it again
                self._show.terminal_closed()
            finally:
                await stream.aclose()
            stream = await self._attach()

    async def _event(self, reply: peer.Reply) -> None:
        event: terminals.TerminalEvent = reply.body
        if event["event"] == "open":
            await asyncio.sleep(_LOGS_FIRST)
            self._terminal_id = event["terminal_id"]
            self._show.terminal_opened(event["container_id"], self._feeder(asyncio.get_running_loop()))
        elif event["event"] == "data":
            for data in reply.attachments:
                self._show.terminal_data(data)
        elif event["event"] == "close":
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
