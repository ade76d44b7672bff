"""What is asked of the port for remote users: WebSockets, and requests that carry pieces of a line."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web as http

from windlass import exception
from windlass.server.ingress.remote import lines
from windlass.wire import carriers, status, tether, websocket

if TYPE_CHECKING:
    from windlass.kit import clock as clock_module
    from windlass.server.ingress import flows



class NoUpgrade(exception.InvalidError):
    """A WebSocket was meant, but what makes it one did not get through: some proxies take it away."""


_CODES = (
    (NoUpgrade, 426),
    (lines.Gone, 410),
    (exception.NotFoundError, 404),
    (exception.RequestSizeError, 413),
    (exception.InvalidError, 400),
    (exception.AuthError, 401),
    (exception.PermissionDeniedError, 403),
    (exception.ResourceExhaustedError, 429),
)
_BODY = 30.0  # seconds for the body of a request


class Posts:
    """A line's carrier while its user sends requests: holds the one that asks for what comes."""

    def __init__(self, line: lines.Line) -> None:
        self._tether = line.tether
        self._waiting: asyncio.Future[None] | None = None
        self._at = 0

    async def receive(self, piece: tether.Piece) -> bytes:
        """What comes after what the user has; nothing, after a while."""
        self.drop()  # whoever asks again has given up his former question
        self._tether.take(piece)
        self._at = piece.got
        if not self._has_news():
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._waiting, carriers.POLL)
            except asyncio.TimeoutError:
                pass
            finally:
                self._waiting = None
        return self._tether.message(self._at)[0]

    def send(self, piece: tether.Piece) -> bytes:
        """Take what the user sent; the answer says how far it has come."""
        self._tether.take(piece)
        return tether.HEAD.pack(tether.DATA, self._tether.end, self._tether.got)

    def _has_news(self) -> bool:
        return self._tether.end > self._at or self._tether.is_closing()

    def wake(self) -> None:
        if self._has_news():
            self.drop()

    def drop(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Desk:
    """Answers requests."""

    def __init__(self, known: lines.Lines, clock: clock_module.Clock, source: flows.Source) -> None:
        self._lines = known
        self._clock = clock
        self._source = source

    async def handle(self, request: http.BaseRequest) -> http.StreamResponse:
        try:
            if request.path.endswith(carriers.SOCKET):
                return await self._socket(request)
            if request.path.endswith((carriers.SEND, carriers.RECEIVE)):
                return await self._post(request)
            raise exception.NotFoundError("this is a Windlass platform; set server_url to this address to use it")
        except exception.Error as exc:
            return refused(exc)

    def _line(self, request: http.BaseRequest) -> lines.Line:
        is_fresh = request.headers.get(carriers.FRESH) == "1"
        return self._lines.find(request.headers.get(carriers.STREAM, ""), self._source(request), is_fresh=is_fresh)

    async def _post(self, request: http.BaseRequest) -> http.StreamResponse:
        if request.method != "POST":
            raise exception.InvalidError("this takes POST requests")
        piece = tether.Piece(await _body(request))
        line = self._line(request)
        try:
            answer = await self._carried(line, piece, receives=request.path.endswith(carriers.RECEIVE))
        except exception.InvalidError as exc:
            line.tether.lose(None)
            raise exception.InvalidError(str(exc)) from None
        headers = {carriers.SERVER: "1", "Cache-Control": "no-store"}
        return http.Response(body=answer, headers=headers, content_type="application/octet-stream")

    async def _carried(self, line: lines.Line, piece: tether.Piece, *, receives: bool) -> bytes:
        carrier = line.tether.carrier
        if not isinstance(carrier, Posts):
            carrier = Posts(line)
            line.tether.attach(carrier, piece.got)
        return await carrier.receive(piece) if receives else carrier.send(piece)

    async def _socket(self, request: http.BaseRequest) -> http.StreamResponse:
        key = request.headers.get("Sec-WebSocket-Key", "")
        wanted = request.headers.get("Upgrade", "").lower() == "websocket"
        if request.method != "GET" or not wanted or not key or request.headers.get("Sec-WebSocket-Version") != "13":
            raise NoUpgrade("this takes WebSockets")
        line, got = self._line(request), request.headers.get(carriers.GOT, "")
        if not got.isdigit() or len(got) > 19 or not line.tether.reaches(int(got)):
            raise lines.Gone("what is missing is not kept any more")
        transport, former = request.transport, request.protocol
        if transport is None:
            raise exception.ServiceError("the connection was lost")
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        socket = _Socket(line, self._clock, sent=int(got), ended=ended, former=former)
        _switch(transport, key, line.tether.got)
        transport.set_protocol(socket)
        socket.connection_made(transport)
        line.tether.attach(socket, int(got))
        if early := former._message_tail:  # of a client that did not wait for the answer
            socket.data_received(early)
        await ended
        raise asyncio.CancelledError  # there is nobody to answer any more


class _Socket(carriers.Socket):
    """That of a user; the protocol that took the request hears when it is gone."""

    def __init__(
        self, line: lines.Line, clock: clock_module.Clock, *, sent: int, ended: asyncio.Future[None], former: Any
    ) -> None:
        super().__init__(line.tether, sent=sent, is_client=False, lost=self._over)
        self._of = line
        self._clock = clock
        self._ended = ended
        self._former = former

    def data_received(self, data: bytes) -> None:
        self._of.heard = self._clock.monotonic()
        super().data_received(data)

    def _over(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
        self._former.connection_lost(exc)


def _switch(transport: Any, key: str, got: int) -> None:
    transport.write(
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {websocket.accept_of(key)}\r\n{carriers.SERVER}: 1\r\n{carriers.GOT}: {got}\r\n\r\n"
        ).encode("latin-1")
    )


async def _body(request: http.BaseRequest) -> bytes:
    try:
        return await asyncio.wait_for(request.read(), _BODY)
    except http.HTTPRequestEntityTooLarge:
        raise exception.RequestSizeError(f"a request has at most {tether.PIECE:,} bytes") from None
    except asyncio.TimeoutError:
        raise exception.InvalidError(f"the request did not come within {_BODY:.0f} s") from None


def refused(exc: exception.Error) -> http.Response:
    """What says why, as errors travel everywhere."""
    code = next((code for kind, code in _CODES if isinstance(exc, kind)), 503)
    response = http.Response(
        status=code, text=json.dumps(status.to_wire(exc)), content_type="application/json",
        headers={carriers.SERVER: "1", "Cache-Control": "no-store"},
    )  # fmt: skip
    response.force_close()
    return response
