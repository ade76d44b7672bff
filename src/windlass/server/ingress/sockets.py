"""WebSockets, message by message, and other upgrades of programs at a port, byte by byte."""

from __future__ import annotations

import asyncio
import collections
import json
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web as http

from windlass.server.ingress import answers, exchanges, requests
from windlass.wire import web

if TYPE_CHECKING:
    from windlass.server.ingress import edge as edge_module

_REASON = "Switching Protocols"


def wanted(request: http.BaseRequest) -> bool:
    """Whether it asks for another protocol. HTTP/2 is but an offer that some clients make beside each request (Java's
    does, if it is not told otherwise), with a body, too: it is declined by an answer over HTTP/1.1."""
    upgrade = request.headers.get("Upgrade", "").lower()
    return upgrade not in ("", "h2c") and "upgrade" in request.headers.get("Connection", "").lower()


class Upgraded:
    """One request that asks for another protocol."""

    def __init__(self, edge: edge_module.Edge, request: http.BaseRequest, target: requests.Target) -> None:
        self._edge = edge
        self._request = request
        self._target = target

    async def run(self) -> http.StreamResponse:
        edge, request, target = self._edge, self._request, self._target
        if (kind := target.route.web["kind"]) == "wsgi":
            raise answers.Refusal(501, "this app is a WSGI app: it cannot speak anything but HTTP")
        raw = kind == "server"
        if not raw and (request.headers.get("Upgrade", "").lower() != "websocket" or request.method != "GET"):
            raise answers.Refusal(501, "this app only upgrades to WebSockets")
        head = requests.head(request, target, body=False, kind="websocket")
        session = request.headers.get(requests.SESSION)
        exchange = edge.table.begin(target.route, target.query, head, None, session)
        try:
            said = await edge.first_frame(exchange, None)
            if said is None:
                raise answers.Refusal(504, "the app did not accept the WebSocket in time")
            if said["status"] != 101:
                from windlass.server.ingress import edge as answering

                return await answering._respond(request, exchange, said)
            return await (self._pass(exchange, said) if raw else self._talk(exchange, said))
        finally:
            exchange.gone()
            exchange.close()

    async def _pass(self, exchange: exchanges.Exchange, said: dict[str, Any]) -> http.StreamResponse:
        """Bytes, whatever they mean."""
        transport = self._request.transport
        if transport is None:
            raise answers.Refusal(400, "the client has gone")
        client = Bytes(transport)
        self._request.protocol.set_parser(client)  # type: ignore[arg-type]
        head = [f"HTTP/1.1 101 {_REASON}", *(f"{name}: {value}" for name, value in said["headers"]), "", ""]
        transport.write("\r\n".join(head).encode("latin-1"))
        sender = self._edge.owner.start(_bytes_to_app(exchange, client), "web.upgrade")
        try:
            while True:
                kind, data = await exchange.next()
                if kind != web.BODY:
                    break
                transport.write(data)
                await _drained(self._request)
                exchange.taken(len(data))
        finally:
            sender.cancel()
            transport.close()
        return Sent()

    async def _talk(self, exchange: exchanges.Exchange, said: dict[str, Any]) -> http.StreamResponse:
        chosen = said.get("subprotocol")
        socket = http.WebSocketResponse(
            protocols=(chosen,) if chosen else (), max_msg_size=web.MAX_MESSAGE, compress=False, autoclose=True
        )
        for name, value in said["headers"]:
            socket.headers.add(name, value)
        await socket.prepare(self._request)
        sender = self._edge.owner.start(_to_client(exchange, socket), "web.socket")
        try:
            await _to_app(exchange, socket)
        finally:
            sender.cancel()
        return socket


class Bytes:
    """Takes the place of the parser of a connection that does not speak HTTP any more. What comes by ``source`` is
    read no faster than somebody asks for it: the server has no room for all that a client may send."""

    def __init__(self, source: asyncio.Transport) -> None:
        self._source = source
        self._size = 0
        self._paused = False
        self._arrived: collections.deque[bytes] = collections.deque()
        self._over = False
        self._wake = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._arrived.append(data)
        self._size += len(data)
        if self._size > web.WINDOW and not self._paused:
            self._source.pause_reading()
            self._paused = True
        self._wake.set()
        return False, b""

    def feed_eof(self) -> None:
        self._over = True
        self._wake.set()

    def set_exception(self, *_: Any) -> None:
        self.feed_eof()

    async def next(self) -> bytes:
        """b"" at the end."""
        while not self._arrived:
            if self._over:
                return b""
            self._wake.clear()
            await self._wake.wait()
        data = self._arrived.popleft()
        self._size -= len(data)
        if self._paused and self._size < web.WINDOW // 2 and not self._source.is_closing():
            self._source.resume_reading()
            self._paused = False
        return data


class Sent(http.StreamResponse):
    """A response that was written already."""

    async def prepare(self, request: http.BaseRequest) -> Any:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def _drained(request: http.BaseRequest) -> None:
    drain = getattr(request.protocol, "_drain_helper", None)
    if drain is not None:
        await drain()


async def _bytes_to_app(exchange: exchanges.Exchange, client: Bytes) -> None:
    while data := await client.next():
        while exchange.credit <= 0 and exchange.status is None:
            await exchange.wait()
        exchange.send(web.BODY, data)
    exchange.send(web.END)


async def _to_app(exchange: exchanges.Exchange, socket: http.WebSocketResponse) -> None:
    async for message in socket:
        if message.type == aiohttp.WSMsgType.TEXT:
            kind, data = web.TEXT, message.data.encode()
        elif message.type == aiohttp.WSMsgType.BINARY:
            kind, data = web.BINARY, message.data
        else:
            break
        while exchange.credit <= 0 and exchange.status is None:
            await exchange.wait()
        exchange.send(kind, data)
    closed = {"code": socket.close_code or 1006, "reason": ""}
    exchange.send(web.CLOSE, json.dumps(closed).encode())


async def _to_client(exchange: exchanges.Exchange, socket: http.WebSocketResponse) -> None:
    while True:
        kind, data = await exchange.next()
        if kind == web.TEXT:
            await socket.send_str(data.decode("utf-8", "replace"))
        elif kind == web.BINARY:
            await socket.send_bytes(data)
        elif kind == web.CLOSE:
            said = json.loads(data)
            await socket.close(code=said["code"], message=said["reason"].encode())
            return
        else:
            await socket.close(code=aiohttp.WSCloseCode.INTERNAL_ERROR)
            return
        exchange.taken(len(data))

