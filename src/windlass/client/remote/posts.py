"""Plain HTTP for networks that let nothing else through: one request sends what there is, another waits for what comes.

Each has a connection of its own, kept open. Answers are whole and end, so proxies that buffer them do no harm.
"""
from __future__ import annotations

import asyncio
import contextlib
from typing import NoReturn

from windlass.client.remote import dial, place, replies
from windlass.kit import tasks
from windlass.wire import carriers, tether

_SLACK = 15.0  # seconds more than it may take
_GOODBYE = 0.5  # seconds for the last word
_LARGEST = tether.PIECE + tether.HEAD.size + 64 * 1024


class Made:
    """Requests that carry ``line``. ``ended`` is set when they fail."""

    def __init__(self, line: tether.Tether) -> None:
        self._line = line
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None
        self._more = asyncio.Event()
        self._tasks = tasks.Tasks(on_failure=self._failed)
        self._sent = 0

    async def open(self, where: place.Place, key: str, *, is_fresh: bool) -> None:
        """Ask once, then let the line go on. Raises like the WebSocket's."""
        self._connections = [_Connection(where, key, is_fresh=is_fresh) for _ in range(2)]
        sending, receiving = self._connections
        try:
            # From the beginning of what is kept: what the platform has already, it passes over.
            answer = await sending.ask(carriers.SEND, tether.HEAD.pack(tether.DATA, 0, self._line.got), dial.PATIENCE)
            piece = tether.Piece(answer)
            if not self._line.reaches(piece.got):
                raise replies.Gone("it lacks what is not kept any more")
        except BaseException:
            sending.close()
            raise
        self._sent = piece.got
        self._line.attach(self, piece.got)
        self._running = [
            self._tasks.start(self._send(sending), "what is sent"),
            self._tasks.start(self._receive(receiving), "what is received"),
        ]

    async def works(self) -> bool:
        return True

    async def close(self) -> None:
        """Say goodbye, and leave nothing behind."""
        self.drop()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.ended.wait(), _GOODBYE)
        self._gone(None)
        await self._tasks.close()

    # -- a tether's carrier -------------------------------------------------------------------------------

    def wake(self) -> None:
        self._more.set()

    def drop(self) -> None:
        self._line.detach(self)
        if not self.ended.is_set():
            self._tasks.start(self._leave(), "goodbye")

    # -- inside -----------------------------------------------------------------------------------------

    async def _send(self, connection: _Connection) -> NoReturn:
        while True:
            self._more.clear()
            await self._send_all(connection)
            await self._more.wait()

    async def _send_all(self, connection: _Connection) -> None:
        line = self._line
        while self._sent < line.end:  # what has arrived is confirmed by the requests that ask for more
            message, stop = line.message(self._sent)
            answer = tether.Piece(await connection.ask(carriers.SEND, message, _SLACK))
            line.confirmed(answer.got)
            self._sent = stop

    async def _receive(self, connection: _Connection) -> NoReturn:
        line = self._line
        while True:
            about = tether.HEAD.pack(tether.DATA, self._sent, line.got)
            answer = await connection.ask(carriers.RECEIVE, about, carriers.POLL + _SLACK)
            piece = tether.Piece(answer)
            if line.carrier is self:
                line.take(piece)

    async def _leave(self) -> None:
        """Say what is left to say (the end), then go."""
        with contextlib.suppress(OSError, replies.Gone, replies.NotPassed):
            if self._line.is_closing():
                message, _ = self._line.message(min(self._sent, self._line.end))
                await _Connection.once(self._connections[0], message)
        self._gone(None)

    def _failed(self, name: str, exc: BaseException) -> None:
        self._gone(exc)

    def _gone(self, exc: BaseException | None) -> None:
        if not self.ended.is_set():
            self.failure = exc
            self._line.detach(self)
            for connection in self._connections:
                connection.close()
            self.ended.set()
            for task in self._running:  # one fails because of the other
                task.cancel()


class _Answer(asyncio.StreamReaderProtocol):
    """A connection as a stream of bytes."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader(limit=_LARGEST)
        super().__init__(self.reader)


class _Connection:
    """Requests one after the other, over a connection that is made when there is none."""

    def __init__(self, where: place.Place, key: str, *, is_fresh: bool) -> None:
        self._where = where
        self._key = key
        self._is_fresh = is_fresh
        self._transport: asyncio.Transport | None = None
        self._reader = asyncio.StreamReader()

    async def ask(self, end: str, body: bytes, patience: float) -> bytes:
        """The answer's body. Raises ``OSError``, ``NotPassed``, ``Gone``, or what the platform answered."""
        try:
            head, answer = await asyncio.wait_for(self._ask(end, body), patience)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
            self.close()
            raise OSError(self._why(exc)) from None
        except BaseException:
            self.close()
            raise
        if head.fields.get("connection", "").lower() == "close":
            self.close()
        replies.check(head, answer)
        self._is_fresh = False
        return answer

    def _why(self, exc: Exception) -> str:
        if not isinstance(exc, asyncio.IncompleteReadError):
            return f"no whole answer: {exc or 'it took too long'}"
        if exc.partial or self._where.is_secure:
            return f"it closed the connection after {len(exc.partial)} bytes of an answer"
        return "it closed the connection without an answer, as one does that speaks TLS (https://)"

    async def once(self, body: bytes) -> None:
        """A last word, on a connection of its own: the other may be in the midst of a request."""
        fresh = _Connection(self._where, self._key, is_fresh=False)
        try:
            await fresh.ask(carriers.SEND, body, _GOODBYE)
        finally:
            fresh.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _ask(self, end: str, body: bytes) -> tuple[replies.Head, bytes]:
        kept = self._transport is not None and not self._transport.is_closing()
        if kept:
            try:
                return await self._exchange(end, body)
            except (OSError, asyncio.IncompleteReadError):
                self.close()  # the other end had closed what was idle: all that is asked may be asked twice
        self._transport, protocol = await dial.connect(self._where, _Answer)
        self._reader = protocol.reader
        return await self._exchange(end, body)

    async def _exchange(self, end: str, body: bytes) -> tuple[replies.Head, bytes]:
        assert self._transport is not None
        self._transport.write(self._head(end, len(body)) + body)
        text = await self._reader.readuntil(b"\r\n\r\n")
        head = replies.read_head(text[:-4])
        return head, await self._body(head)

    async def _body(self, head: replies.Head) -> bytes:
        if "chunked" in head.fields.get("transfer-encoding", "").lower():
            return await self._chunks()
        size = head.fields.get("content-length", "0")
        if not size.isdigit() or int(size) > _LARGEST:
            raise replies.NotPassed("an answer of no size")
        return await self._reader.readexactly(int(size))

    async def _chunks(self) -> bytes:
        """A body that a proxy cut into pieces."""
        parts = bytearray()
        while True:
            line = await self._reader.readuntil(b"\r\n")
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                raise replies.NotPassed("a malformed answer") from None
            if size < 0 or len(parts) + size > _LARGEST:
                raise replies.NotPassed("an endless answer")
            if size == 0:
                while (await self._reader.readuntil(b"\r\n")) != b"\r\n":
                    continue
                return bytes(parts)
            parts += (await self._reader.readexactly(size + 2))[:-2]

    def _head(self, end: str, size: int) -> bytes:
        host = self._where.origin.split("//")[1].partition("/")[0]
        fresh = "1" if self._is_fresh else "0"
        return (
            f"POST {self._where.prefix}{end} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {size}\r\nCache-Control: no-store\r\n{carriers.STREAM}: {self._key}\r\n"
            f"{carriers.FRESH}: {fresh}\r\n\r\n"
        ).encode("latin-1")
