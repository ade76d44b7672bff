"""The port for remote users."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web as http
from aiohttp import web_protocol

from windlass import exception
from windlass.kit import tasks
from windlass.server import settings as settings_module
from windlass.server.apply import core as core_module
from windlass.server.bus import link
from windlass.server.ingress import flows, fronts, operations
from windlass.server.ingress.remote import lines, requests
from windlass.server.objects import certificate
from windlass.wire import carriers, status, tether

NOTE = "remote.shown.json"
"""In the home: how remote users reach this platform, while it runs."""

_SWEEP = 1.0
_RENEWAL = 5.0
_IDLE = 75.0
_HEAD = 20.0  # seconds for the head of a request
_EACH = 2  # connections that one line needs
_LINE, _FIELD = 8 * 1024, 16 * 1024
_SHAKE = 10.0  # seconds for TLS
_log = logging.getLogger(__name__)


class Connection(web_protocol.RequestHandler):
    """A connection whose first head must come in time. (Later ones have as long as an idle connection.)"""

    __slots__ = ("_patience",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._patience = self._loop.call_later(_HEAD, self._slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages or self._current_request is not None:
            self._patience.cancel()

    def _slow(self) -> None:
        if self.transport is not None:
            self.transport.write(_answer(408, exception.InvalidError("the request did not come in time")))
            self.force_close()

    def handle_error(
        self, request: http.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> http.StreamResponse:
        if status >= 500:
            _log.error("answering a request failed", exc_info=exc)
            return requests.refused(exception.InternalError("the platform failed"))
        return requests.refused(exception.InvalidError("this is no request that can be answered"))


class Server(http.Server):
    """Makes connections, up to a number; whoever comes then is told so."""

    most = 0

    def __call__(self) -> Any:
        return Connection(self, loop=self._loop, **self._kwargs) if len(self._connections) < self.most else _Full()


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        refusal = exception.ResourceExhaustedError("the platform has too many connections")
        transport.write(_answer(429, refusal))  # type: ignore[attr-defined]
        transport.close()


def _answer(code: int, refusal: exception.Error) -> bytes:
    """Without a request."""
    text = json.dumps(status.to_wire(refusal)).encode()
    return (
        b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\n%b: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (code, carriers.SERVER.encode(), len(text), text)
    )


@contextlib.asynccontextmanager
async def serve(
    core: core_module.Core, make: Callable[[], link.Link], owner: tasks.Tasks, pages: operations.Pages
) -> AsyncIterator[None]:
    """Listen at ``settings.listen`` until the block is left. What users must know of it is noted in a file. ``pages``:
    what is shown to everybody."""
    settings = core.settings
    known = lines.Lines(make, core.clock, keep=settings.remote_keep, most=settings.remote_lines)
    front = fronts.Fronts(settings.web_trusted)

    def source(request: http.BaseRequest) -> str:
        return front.client(request, []).address

    handle = operations.before(pages, requests.Desk(known, core.clock, source).handle)
    server = Server(
        flows.before(core, handle, source), request_factory=_request,
        handler_cancellation=True, access_log=None,
        keepalive_timeout=_IDLE, max_line_size=_LINE, max_field_size=_FIELD, max_headers=64, lingering_time=2.0,
    )  # fmt: skip
    server.most = _EACH * settings.remote_lines
    host, port = address(settings.listen)
    secure, fingerprint = _certified(settings)
    opened = await _opened(server, host, port, secure)
    port = opened.sockets[0].getsockname()[1]
    url = f"{'https' if secure else 'http'}://{named(settings.public_host or host)}:{port}"
    note = functools.partial(_note, settings.home / NOTE, url)
    note(fingerprint)
    _log.info("answering remote users at %s, certificate to pin sha256:%s", url, fingerprint or "none")
    owner.start(_sweep(known), "lines of remote users")
    if secure is not None and settings.tls_cert:
        owner.start(renew(secure, settings, note), "certificate of the remote port")
    try:
        yield
    finally:
        (settings.home / NOTE).unlink(missing_ok=True)
        opened.close()
        known.close()
        await server.shutdown(0.2)


def _note(path: Path, url: str, fingerprint: str) -> None:
    path.write_text(json.dumps({"url": url, "fingerprint": fingerprint}) + "\n")


def _certified(settings: settings_module.Settings) -> tuple[ssl.SSLContext | None, str]:
    """How the port speaks TLS, and the fingerprint that users pin: of a certificate that no authority vouches for."""
    files = certificate.shown(settings)
    return (None, "") if files is None else (certificate.context(*files), certificate.pinned(files[0]))


async def _opened(server: Any, host: str, port: int, secure: ssl.SSLContext | None) -> asyncio.Server:
    loop, patience = asyncio.get_running_loop(), _SHAKE if secure else None
    try:
        return await loop.create_server(
            server, host, port, ssl=secure, backlog=1024, ssl_handshake_timeout=patience
        )
    except OSError as exc:
        raise exception.ConflictError(
            f"cannot listen at {host} port {port}: {exc.strerror or exc}", hint="Choose another one with --listen."
        ) from exc


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> http.BaseRequest:
    """Of at most one piece."""
    loop, most = asyncio.get_running_loop(), tether.PIECE + 1024
    return http.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=most)


async def renew(secure: ssl.SSLContext, settings: settings_module.Settings, note: Callable[[str], None]) -> None:
    """Show a certificate that was put in place of the one that was given, from the next connection on.

    Certificate and key are two files, replaced one after the other: only two that fit are taken.
    """
    given, key = Path(settings.tls_cert), Path(settings.tls_key) if settings.tls_key else None
    last: object = None
    while True:
        found = certificate.seen(given, key)
        if found != last:
            with contextlib.suppress(OSError, ssl.SSLError, exception.InvalidError):  # not yet both of them
                certificate.context(given, key)
                secure.load_cert_chain(given, key)
                note(certificate.pinned(given))
                last = found
        await asyncio.sleep(_RENEWAL)


async def _sweep(known: lines.Lines) -> None:
    while True:
        await asyncio.sleep(_SWEEP)
        known.sweep()


def address(listen: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``. Raises ``InvalidError``."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit() or int(port) > 65535 or not host:
        raise exception.InvalidError(f"--listen {listen!r} is no HOST:PORT", hint="Like 0.0.0.0:8643.")
    return host, int(port)


def named(host: str) -> str:
    """How others may name this machine."""
    if host in ("0.0.0.0", "::", "*"):
        host = socket.gethostname()
    return f"[{host}]" if ":" in host else host
