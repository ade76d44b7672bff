"""A tether's carrier that both ends share: one WebSocket, from when its handshake is over."""
from __future__ import annotations

import asyncio
from collections.abc import Callable

from windlass import exception
from windlass.wire import tether, websocket

STREAM, GOT, FRESH, SERVER = "Windlass-Stream", "Windlass-Got", "Windlass-Fresh", "Windlass-Server"
"""Headers of a handshake: which stream; how much of it has arrived here; whether it begins; by whom it was answered."""

SOCKET, SEND, RECEIVE = "/v1/socket", "/v1/send", "/v1/receive"
"""Ends of the paths that carriers ask for."""

POLL = 20.0
"""Seconds for which a request that asks for what comes is held: less than the patience of usual proxies."""


class Socket(asyncio.Protocol):
    """The protocol of a connection that has become a WebSocket. Attach it to its tether when it is made.

    ``sent``: how much of the stream the other end has. ``lost`` is called once when it is gone.
    """

    def __init__(
        self, line: tether.Tether, *, sent: int, is_client: bool, lost: Callable[[Exception | None], None]
    ) -> None:
        self._line = line
        self._sent = sent
        self._mask = is_client
        self._lost = lost
        self._decoder = websocket.Decoder(limit=tether.PIECE + tether.HEAD.size, expect_mask=not is_client)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_dropped = False
        self.heard = self._spoke = 0.0
        """When the other end was heard last, in the loop's time; 0: never."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport  # type: ignore[assignment]
        self._began = self._loop.time()
        self._timer = self._loop.call_later(tether.BEAT, self._beat)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._line.detach(self)
        self._lost(exc)

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        try:
            for message in self._decoder.feed(data):
                self._take(message)
        except exception.RequestSizeError as exc:
            self._refuse(websocket.TOO_LARGE, str(exc))
        except exception.InvalidError as exc:
            self._refuse(websocket.PROTOCOL, str(exc))

    def _take(self, message: websocket.Message) -> None:
        if message.kind == websocket.BINARY:
            if not self._is_dropped:  # what comes by the one that took over must not come twice, nor before
                self._line.take(tether.Piece(message.data))
        elif message.kind == websocket.PING:
            self._write([websocket.encode(message.data, websocket.PONG, mask=self._mask)])
        elif message.kind == websocket.CLOSE:
            self.drop()
        elif message.kind == websocket.TEXT:
            raise exception.InvalidError("text is not spoken here")

    # -- a tether's carrier -------------------------------------------------------------------------------

    def wake(self) -> None:
        out = []
        while self._sent < self._line.end:
            piece, self._sent = self._line.message(self._sent)
            out.append(websocket.encode(piece, mask=self._mask))
        if not out:
            out.append(websocket.encode(self._line.message(self._sent)[0], mask=self._mask))
        self._write(out)

    def drop(self) -> None:
        if not self._is_dropped:
            self._is_dropped = True
            self._line.detach(self)
            self._write([websocket.end(websocket.NORMAL, mask=self._mask)])
            self._leave()

    def _refuse(self, code: int, reason: str) -> None:
        self._is_dropped = True
        self._line.detach(self)
        self._write([websocket.end(code, reason, mask=self._mask)])
        self._leave()

    def _leave(self) -> None:
        """Close when all is sent; where nobody reads it, close all the same."""
        if self._transport is not None:
            self._transport.close()
            self._loop.call_later(tether.BEAT, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _write(self, out: list[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._spoke = self._loop.time()
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _beat(self) -> None:
        now = self._loop.time()
        if now - max(self.heard, self._began) > tether.SILENCE:
            self._abort()
            return
        self._timer = self._loop.call_later(tether.BEAT / 2, self._beat)
        if now - self._spoke >= tether.BEAT / 2 and not self._is_dropped:
            self.wake()
