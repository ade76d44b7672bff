"""The door for those who look after the platform: figures, health, and the description of all messages.

On a Unix socket of the owner's always, and over HTTP where the settings say so. There is no other protection, and no
secret behind it: names of apps and functions, sizes and counts. Of health alone, without the reasons, the port for
remote users tells, too: whatever stands before it asks there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from aiohttp import web as http

from windlass import exception
from windlass.kit import sockets

_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    status: int
    type: str
    text: str


Page = Callable[[], Awaitable[Answer]]
Pages = dict[str, Page]
Handle = Callable[[http.BaseRequest], Awaitable[http.StreamResponse]]


def said(status: int, value: object) -> Answer:
    return Answer(status, "application/json; charset=utf-8", json.dumps(value) + "\n")


@contextlib.asynccontextmanager
async def serve(pages: Pages, socket: Path, address: str) -> AsyncIterator[list[int]]:
    """Answer until the block is left: at ``socket``, and at ``address`` ("HOST:PORT") unless that is empty.

    Yields the ports. Raises ``InvalidError`` for an address that is none, ``ConflictError`` where it cannot be had.
    """

    async def handle(request: http.BaseRequest) -> http.StreamResponse:
        page = pages.get(request.path)
        if page is None:
            return _response(Answer(404, "text/plain; charset=utf-8", "".join(f"{path}\n" for path in pages)))
        return await _shown(page, request)

    server = http.Server(handle, access_log=None)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.shutdown, 1.0)
        stack.callback((await _unix(server, socket)).close)
        stack.callback(sockets.leave, socket)
        ports = []
        if address:
            listener = await _tcp(server, address)
            stack.callback(listener.close)
            ports = [one.getsockname()[1] for one in listener.sockets]
        yield ports


def before(pages: Pages, handle: Handle) -> Handle:
    """``handle``, for a listener whose other requests are about something else; behind the prefix of a proxy, too."""

    async def handled(request: http.BaseRequest) -> http.StreamResponse:
        page = pages.get("/" + request.path.rpartition("/")[2])
        return await handle(request) if page is None else await _shown(page, request)

    return handled


async def _shown(page: Page, request: http.BaseRequest) -> http.Response:
    if request.method not in ("GET", "HEAD"):
        return _response(Answer(405, "text/plain; charset=utf-8", "only GET\n"))
    return _response(await page())


def _response(answer: Answer) -> http.Response:
    return http.Response(status=answer.status, text=answer.text, headers={"Content-Type": answer.type})


async def _unix(server: http.Server, socket: Path) -> asyncio.AbstractServer:
    sockets.vacate(socket)
    before = os.umask(0o177)
    try:
        return await asyncio.get_running_loop().create_unix_server(server, str(socket))
    finally:
        os.umask(before)


async def _tcp(server: http.Server, address: str) -> asyncio.Server:
    host, port = parsed(address)
    try:
        listener = await asyncio.get_running_loop().create_server(server, host, port)
    except OSError as exc:
        raise exception.ConflictError(
            f"figures cannot be served at {address}: {exc.strerror or exc}", hint="Choose another one with --metrics."
        ) from exc
    _log.info("serving figures and health at %s", address)
    return listener


def parsed(address: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9464``, ``[::1]:9464``, or a port of loopback alone."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise exception.InvalidError(f"{address!r} is no HOST:PORT", hint="For example 127.0.0.1:9464.")
    return host.strip("[]") or "127.0.0.1", int(port)
