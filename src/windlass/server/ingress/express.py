"""The short way: a request without a body whose answer comes whole, and soon. No task, no copy of the request.

    parsed ─► begun ─► whole answer ─► written            all of it in callbacks
                 └── anything else ──► ``edge``           with what has arrived: streams, slow or bad answers

Most requests are of that kind, and each microsecond here is paid by all of them.
"""

from __future__ import annotations

import asyncio
import http
import re
from typing import Any, Protocol

from aiohttp import helpers
from aiohttp.http_writer import HttpVersion11

from windlass import exception
from windlass.server.apply import web as actions
from windlass.server.ingress import answers, connect, exchanges, requests, tokens
from windlass.server.ingress import edge as edge_module
from windlass.wire import web

_EVERY = 1.0  # seconds between looks at what takes long
_FEW = 8  # requests that wait for each other
_REASONS = {status.value: status.phrase.encode() for status in http.HTTPStatus}
_ADDED = frozenset({b"content-length", b"content-type", b"date", b"server"})
"""What the edge says where an app does not."""
_SPECIAL = re.compile(
    rb"^(%b)[ \t]*:[ \t]*([^\r]*)" % b"|".join([*_ADDED, *(name.encode() for name in edge_module.HOP)]),
    re.IGNORECASE | re.MULTILINE,
).findall


class Connection(Protocol):
    """What a connection of a client must offer."""

    transport: asyncio.Transport | None
    known: requests.Known | None

    def expressed(self) -> None:
        """The answer was written."""

    def take_over(self, begun: Begun) -> None:
        """Let ``edge`` answer the request, which is under way."""


class Begun:
    """A request on the short way."""

    __slots__ = ("at", "connection", "exchange", "message", "payload", "request", "target", "waked", "way")

    def __init__(self, way: Way, connection: Connection, message: Any, payload: Any) -> None:
        self.way, self.connection, self.message, self.payload = way, connection, message, payload
        self.request = requests.Plain(message, connection.transport)
        self.at = way.loop.time()
        self.waked = False
        self.target: requests.Target
        self.exchange: exchanges.Exchange

    def wake(self) -> None:
        """Something came: a whole answer goes on at once, and is accounted for later; else look at it once all that
        came with it is here."""
        if self.exchange.whole is not None:
            self._answer(self.exchange.whole)
        elif not self.waked:
            self.waked = True
            self.way.loop.call_soon(self._look)

    def _look(self) -> None:
        self.waked = False
        exchange = self.exchange
        if exchange.told is None:
            return  # its client has gone, or ``edge`` has it
        if exchange.complete and (data := _joined(exchange)) is not None:
            self._answer(data)
        elif exchange.arrived or exchange.over:
            self.leave()

    def _answer(self, data: bytes) -> None:
        if (text := _written(data)) is None:
            self.leave()
            return
        transport = self.connection.transport
        self._end()
        if transport is not None:
            transport.write(text)
        self.exchange.close()
        self.way.log(self, int(text[9:12]))
        self.connection.expressed()

    def leave(self) -> None:
        """It is one for ``edge``."""
        self._end()
        self.exchange.part()
        self.connection.take_over(self)

    def lost(self) -> None:
        """The client has gone."""
        self._end()
        self.exchange.gone()
        self.exchange.close()
        self.way.log(self, 499)

    def _end(self) -> None:
        self.exchange.told = None
        self.way.begun.discard(self)


class Way:
    def __init__(self, edge: edge_module.Edge) -> None:
        self.edge = edge
        self.loop = asyncio.get_running_loop()
        self.begun: set[Begun] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._fresh = 0

    def hurry(self) -> None:
        """What has begun goes on its way in small groups: its container works while the next ones are read."""
        self._fresh += 1
        if self._fresh >= _FEW:
            self._fresh = 0
            self.edge.core.turn.end()

    def begin(self, connection: Connection, message: Any, payload: Any) -> Begun | None:
        """None where ``edge`` must answer, and nothing was done yet."""
        edge, made = self.edge, Begun(self, connection, message, payload)
        request: Any = made.request
        try:
            target = requests.again(edge.core, connection.known, request) or self._target(connection, request)
            if target is None:
                return None
            made.target = target
            web_spec = target.route.web
            if requests.RESULT in target.query or edge.core.settings.web_rate:
                return None
            if web_spec["requires_proxy_auth"]:
                tokens.check(edge.core, target.route, request)
            head = requests.head(request, target, body=False, kind="http")
            session = request.headers.get(requests.SESSION) if "stateless" in web_spec else None
            made.exchange = edge.table.begin(target.route, target.query, head, None, session)
        except answers.Refusal:
            return None
        made.exchange.told = made.wake
        self.begun.add(made)
        if self._timer is None:
            self._timer = self.loop.call_later(_EVERY, self._sweep)
        return made

    def _target(self, connection: Connection, request: Any) -> requests.Target | None:
        """None for one that is for a sandbox. Raises ``Refusal``."""
        core, front = self.edge.core, self.edge.fronts
        client = requests.client(front, request)
        if connect.door(core, client, request) is not None:
            return None
        target = requests.target(core, client, request)
        if not target.root and not front.believes:
            connection.known = requests.Known(client.host, target.route, client, actions.routes(core))
        return target

    def _sweep(self) -> None:
        """What takes long is watched by ``edge``."""
        self._timer, late = None, self.loop.time() - _EVERY
        for one in [one for one in self.begun if one.at <= late]:
            one.leave()
        if self.begun:
            self._timer = self.loop.call_later(_EVERY, self._sweep)

    def leave_all(self) -> None:
        for one in list(self.begun):
            one.leave()

    def log(self, one: Begun, status: int) -> None:
        request, target = one.request, one.target
        seconds = self.loop.time() - one.at
        path = requests.shown(request)
        self.edge.core.measures.web[status] += 1
        self.edge.access.add(target.client.address, target.route.label, request.method, path, status, seconds)


def suits(message: Any) -> bool:
    """Whether a request without a body may go the short way."""
    return (
        message.version == HttpVersion11
        and not message.should_close
        and not message.upgrade
        and message.method not in ("HEAD", "CONNECT")
    )


def _joined(exchange: exchanges.Exchange) -> bytes | None:
    """A whole answer that came in parts, as one that did not; None where it is not so simple."""
    arrived = exchange.arrived
    if not arrived or arrived[0][0] != web.HEAD or exchange.refused:
        return None
    try:
        head = edge_module.head_of(arrived[0][1])
        said = [pair for pair in head["headers"] if pair[0].lower() not in edge_module.HOP]
        lines = "".join([f"{name}: {value}\r\n" for name, value in said]).encode("latin-1")
    except (answers.Refusal, UnicodeEncodeError):
        return None
    body = b"".join([data for kind, data in arrived if kind == web.BODY])
    return web.whole(head["status"], len(said), lines, body) if len(body) <= web.PIECE else None


def _written(data: bytes) -> bytes | None:
    """A whole answer as it goes to the client; None where it is not so simple."""
    try:
        status, count, lines, body = web.read_whole(data)
    except exception.InvalidError:
        return None
    if not 200 <= status <= 999 or status in edge_module.BODILESS or not answers.sound(count, lines):
        return None
    said: dict[bytes, bytes] = {}
    for name, value in _SPECIAL(lines):
        small = name.lower()
        if small not in _ADDED or (small in said and small == b"content-length"):
            return None
        said[small] = value
    length = b"%d" % len(body)
    if said.get(b"content-length", length) != length:
        return None
    return b"".join((
        b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"")),
        lines,
        b"" if b"content-length" in said else b"Content-Length: %b\r\n" % length,
        b"" if b"content-type" in said or not body else b"Content-Type: application/octet-stream\r\n",
        b"" if b"date" in said else b"Date: %b\r\n" % helpers.rfc822_formatted_time().encode(),
        b"\r\n" if b"server" in said else b"Server: windlass\r\n\r\n",
        body,
    ))  # fmt: skip
