"""The edge's sockets: HTTP on loopback, and the Unix socket of runners beside that of their other connections."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import http_exceptions, streams, web_protocol
from aiohttp import web as http

from windlass import exception
from windlass.kit import sockets, tasks
from windlass.server.apply import core as core_module
from windlass.server.apply import web as actions
from windlass.server.decide import fronts
from windlass.server.decide import ports as rules
from windlass.server.ingress import answers, carriers, connect, edge, exchanges, express, ports, requests, tunnels
from windlass.server.objects import authority, certificate
from windlass.wire import web

_HEAD = 20.0  # seconds for the head of a request to come
_IDLE = 75.0  # seconds between requests on one connection
_LINE, _FIELD = 16 * 1024, 64 * 1024
_BUFFER = 1024 * 1024
_log = logging.getLogger(__name__)


class Connection(web_protocol.RequestHandler):
    """A connection of a client. A head that comes too slowly ends it."""

    __slots__ = ("_begun", "_head_timer", "_held", "_way", "known", "taken")
    _head_timer: asyncio.TimerHandle | None

    def __init__(self, manager: Server, way: express.Way, **how: Any) -> None:
        super().__init__(manager, **how)
        self._way = way
        self._begun: express.Begun | None = None
        """The request that is on the short way: until it is answered, what follows waits in ``_held``."""
        self._held: list[bytes] = []
        self.known: requests.Known | None = None
        self.taken: express.Begun | None = None
        """The request that the edge has taken over from there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(_HEAD, self._slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._quick()
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._begun is not None or self._held:
            self._hold(data)
            return
        waiter, self._waiter = self._waiter, None  # who answers shall not wake yet
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if self._messages and waiter is not None and not waiter.done() and not self._shortened():
            waiter.set_result(None)
        if self._begun is not None:
            self._quick()
            self._way.hurry()
        elif self._messages or self._current_request is not None:
            self._quick()
            self._tell_bad_body()
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(_HEAD, self._slow)

    def _shortened(self) -> bool:
        """Let the one request that has come go the short way, if it can."""
        message, payload = self._messages[0]
        if len(self._messages) > 1 or payload is not streams.EMPTY_PAYLOAD or self._upgraded:
            return False
        if self.writing_paused:  # its client does not read: the edge waits until it does before it takes another
            return False
        if isinstance(message, web_protocol._ErrInfo) or not express.suits(message) or self._close:
            return False
        self._begun = self._way.begin(self, message, payload)
        if self._begun is None:
            return False
        self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        return True

    def _hold(self, data: bytes) -> None:
        """Of a client that does not wait for the answer."""
        self._held.append(data)
        if sum(map(len, self._held)) > _BUFFER and self.transport is not None:
            self.transport.pause_reading()

    def expressed(self) -> None:
        self._begun = None
        self._keepalive = True
        self._next_keepalive_close_time = self._loop.time() + _IDLE
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_later(_IDLE, self._process_keepalive)
        if self._held:
            self._loop.call_soon(self._go_on)

    def take_over(self, begun: express.Begun) -> None:
        self._begun, self.taken = None, begun
        self._messages.appendleft((begun.message, begun.payload))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._held:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """With what has come meanwhile; on a turn of its own, as bytes of others may be in hand in this one."""
        if self._held:
            held, self._held = b"".join(self._held), []
            if self.transport is not None:
                self.transport.resume_reading()
                self.data_received(held)

    def _process_keepalive(self) -> None:
        if self._begun is not None:
            self._keepalive_handle = self._loop.call_later(_IDLE, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _tell_bad_body(self) -> None:
        """The parser keeps an error in the middle of a body to itself; whoever reads it would wait for ever."""
        request = self._current_request
        if request is None or not self._messages or not isinstance(self._messages[-1][0], web_protocol._ErrInfo):
            return
        if not request.content.is_eof() and request.content.exception() is None:
            request.content.set_exception(http_exceptions.TransferEncodingError("malformed body"))

    def _quick(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _slow(self) -> None:
        self._head_timer = None
        if self._current_request is None and self.transport is not None:
            text = b"the request did not come in time\n"
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(text), text)
            )
            self.force_close()

    def handle_error(
        self, request: http.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> http.StreamResponse:
        if status >= 500:
            _log.error("answering a request failed", exc_info=exc)
        text = "this is no request that can be answered" if status < 500 else "the edge failed"
        response = answers.response(status, text)
        response.force_close()
        return response


class Server(http.Server):
    """Makes ``Connection``s."""

    def __init__(self, edge: edge.Edge, **how: Any) -> None:
        super().__init__(edge.handle, **how)
        self.way = express.Way(edge)

    def __call__(self) -> Any:
        return Connection(self, self.way, loop=self._loop, **self._kwargs)


@contextlib.asynccontextmanager
async def serve(core: core_module.Core, folder: Path, owner: tasks.Tasks) -> AsyncIterator[None]:
    """Answer until the block is left. ``folder``: where the socket of runners belongs."""
    table = exchanges.Table(core)
    core.web.outside = fronts.outside(core.settings.web_url)
    answering = edge.Edge(core, table, owner)
    server = Server(
        answering, handler_cancellation=True, access_log=None, keepalive_timeout=_IDLE,
        max_line_size=_LINE, max_field_size=_FIELD, max_headers=256, read_bufsize=_BUFFER, lingering_time=5.0,
    )  # fmt: skip
    async with _runners(core, table, folder):
        listener = await _listen(core, server)
        beside = await _beside(core, server, core.web.port)
        secure = Secure(core, server)
        core.web.trust = secure.trust
        await secure.open()
        core.web.tunnels = tunnels.Tunnels(owner, table.visits, secure.context, core.settings.web_host)
        core.web.ports = ports.Ports(core, core.web.tunnels, owner)
        core.web.ports.resume()
        try:
            yield
        finally:
            core.web.tunnels.close_all()
            for one in (listener, beside):
                if one is not None:
                    one.close()
            secure.close()
            server.way.leave_all()
            await server.shutdown(1.0)
            answering.access.flush()


async def _listen(core: core_module.Core, server: Server) -> asyncio.AbstractServer:
    """At the port that was asked for, else at the one of last time, else at any that is free."""
    loop, remembered = asyncio.get_running_loop(), core.settings.home / "web.port"
    for port in _wanted(core.settings.web_port, remembered):
        try:
            listener = await loop.create_server(server, core.settings.web_host, port, backlog=2048)
        except OSError as exc:
            _log.warning("cannot listen at port %d: %s", port, exc)
            continue
        core.web.port = listener.sockets[0].getsockname()[1]
        remembered.write_text(f"{core.settings.web_port} {core.web.port}\n")
        _log.info("answering HTTP at %s:%d", core.settings.web_host, core.web.port)
        return listener
    raise exception.ConflictError(f"no port of {core.settings.web_host} can be listened at")


async def _beside(
    core: core_module.Core, server: Server, port: int, context: ssl.SSLContext | None = None
) -> asyncio.AbstractServer | None:
    """The same at loopback's other address: programs that find ``::1`` for "localhost" would be refused, and some try
    no other. None where this machine has no IPv6, or somebody else listens there."""
    if core.settings.web_host not in ("127.0.0.1", "0.0.0.0"):
        return None
    try:
        return await asyncio.get_running_loop().create_server(server, "::1", port, ssl=context, backlog=1024)
    except OSError as exc:
        _log.info("not answering at [::1]:%d: %s", port, exc)
        return None


def _wanted(asked: int, remembered: Path) -> list[int]:
    """Ports to try. That of last time comes first as long as the same is asked for."""
    last = remembered.read_text().split() if remembered.exists() else []
    if len(last) == 2 and last[0] == str(asked) and last[1].isdigit() and 0 < int(last[1]) < 65536:
        return [int(last[1]), asked, 0]
    return [asked, 0]


class Secure:
    """HTTPS beside it, from when there are certificates."""

    def __init__(self, core: core_module.Core, server: Server) -> None:
        self._core = core
        self._server = server
        self._authority = authority.Authority(core.settings.home / "tls")
        self._listener: asyncio.AbstractServer | None = None
        self._beside: asyncio.AbstractServer | None = None
        self._contexts: dict[str, tuple[Any, ssl.SSLContext]] = {}

    async def open(self) -> None:
        """Where there is anything to show; the port is remembered, too."""
        if self._listener is not None or not self._authority.wanted:
            return
        context = self._authority.context()
        context.sni_callback = self._choose
        if (default := self._authority.choose("localhost", known=True)) is not None:
            context = default
            context.sni_callback = self._choose
        loop, remembered = asyncio.get_running_loop(), self._core.settings.home / "web.tls.port"
        last = remembered.read_text().strip() if remembered.exists() else ""
        for port in (int(last) if last.isdigit() else self._core.web.port + 1, 0):
            try:
                self._listener = await loop.create_server(
                    self._server, self._core.settings.web_host, port, ssl=context, backlog=1024)
            except OSError as exc:
                _log.warning("cannot listen at port %d: %s", port, exc)
                continue
            self._core.web.tls_port = self._listener.sockets[0].getsockname()[1]
            remembered.write_text(f"{self._core.web.tls_port}\n")
            self._beside = await _beside(self._core, self._server, self._core.web.tls_port, context)
            _log.info("answering HTTPS at 127.0.0.1:%d", self._core.web.tls_port)
            return

    async def trust(self) -> Path:
        """Make the local authority, and answer with its certificates from now on. Returned: its own certificate."""
        self._authority.make()
        await self.open()
        return self._authority.certificate

    def context(self, kind: str) -> ssl.SSLContext:
        """For a tunnel: with the certificate that remote users see, where they can come. Whoever wants TLS where there
        is nothing to show gets one of the local authority."""
        files = certificate.shown(self._core.settings) if self._core.settings.web_name else None
        seen, kept = certificate.seen(*(files or ())), self._contexts.get(kind)
        if kept is not None and kept[0] == seen:
            return kept[1]
        protocols = ["h2", "http/1.1"] if kind == rules.H2 else ["http/1.1"]
        try:
            found = self._speaking(files, protocols)
        except exception.InvalidError:
            if kept is None:
                raise
            return kept[1]  # its files are just being replaced
        found.sni_callback = functools.partial(self._choose_for_tunnel, protocols)
        self._contexts[kind] = seen, found
        return found

    def _speaking(self, files: tuple[Path, Path | None] | None, protocols: list[str]) -> ssl.SSLContext:
        if files is None:
            self._authority.make()
            return self._authority.speaking("localhost", protocols)
        found = certificate.context(*files)
        found.set_alpn_protocols(protocols)
        return found

    def _choose_for_tunnel(
        self, protocols: list[str], connection: Any, name: str | None, context: ssl.SSLContext
    ) -> int | None:
        """Domains of one's own have certificates of their own; all else is what ``context`` chose."""
        if name and self._authority.given(name.lower()):
            connection.context = self._authority.speaking(name.lower(), protocols)
        return None

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> int | None:
        if not name:
            return None
        label, _, rest = name.lower().partition(".")
        known = rest == "localhost" and (label in actions.routes(self._core) or connect.leads(self._core, label))
        chosen = self._authority.choose(name, known=known or name.lower() == "localhost")
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = chosen
        return None

    def close(self) -> None:
        for one in (self._listener, self._beside):
            if one is not None:
                one.close()


@contextlib.asynccontextmanager
async def _runners(core: core_module.Core, table: exchanges.Table, folder: Path) -> AsyncIterator[None]:
    path = folder / web.SOCKET
    sockets.vacate(path)
    before = os.umask(0o177)
    try:
        listener = await asyncio.get_running_loop().create_unix_server(
            lambda: carriers.Carrier(core, table), str(path), backlog=1024
        )
    finally:
        os.umask(before)
    path.chmod(0o666)
    try:
        yield
    finally:
        listener.close()
        sockets.leave(path)
