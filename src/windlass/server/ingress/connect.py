"""Requests to sandboxes, from whoever shows a connect token: passed on to the port that the token is for.

The token comes as a bearer token, as a query parameter (then a cookie is set), or as that cookie. None of them reaches
the sandbox, which is told in a header of ours whom the token was given to.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib import parse

import aiohttp
import multidict
import yarl
from aiohttp import http_exceptions
from aiohttp import web as http

from windlass import exception
from windlass.server.apply import connect_tokens
from windlass.server.apply import sandboxes as actions
from windlass.server.decide import fronts, ports
from windlass.server.ingress import answers, inside, requests, sockets, visits
from windlass.server.state import moves

if TYPE_CHECKING:
    from windlass.kit import tasks
    from windlass.server.apply import core as core_module
    from windlass.server.state import sandboxes as state

NAMES = ("_modal_connect_token", "_windlass_connect_token")
"""Of the query parameter and the cookie; the first is the one that is set."""
USER = "X-Verified-User-Data"
_LABEL = re.compile(r"sb-[0-9a-f]{20}\Z")
_BY_PATH = re.compile(r"/~(sb-[0-9a-f]{20})(?=/|\Z)")
_PATIENCE = 12.0  # seconds for the sandbox's worker to connect
_LINE, _FIELD = 16 * 1024, 64 * 1024
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "trailer", "te", "upgrade"})
_AGAIN = frozenset({"connection", "upgrade", "transfer-encoding", "expect"})
_SAME = ["User-Agent", "Accept", "Accept-Encoding", "Content-Type"]  # aiohttp would add them
_BODILESS = frozenset({204, 304})
_SLASHES = "/\\"  # to browsers both are one: two of them would begin another host
_UNKNOWN = "this needs a connect token that is valid here"


class Door(NamedTuple):
    """Whom a request is for, by its address. ``root``: the part of the path that says so, "" where the host does.
    ``client``: who asks."""

    label: str
    root: str
    path: str
    query: str
    client: fronts.Client


class Entry(NamedTuple):
    """An admitted request. ``shown``: the token, where it came in the query. ``bearer``: it came as a header."""

    door: Door
    sandbox: state.Sandbox
    claim: connect_tokens.Claim
    query: str
    shown: str
    bearer: bool


def door(core: core_module.Core, client: fronts.Client, request: http.BaseRequest) -> Door | None:
    """None for a request that is for no sandbox."""
    path, _, query = request.raw_path.partition("?")
    label, _, rest = requests.hostname(client.host).partition(".")
    if requests.ours(core, rest) and _LABEL.match(label):
        return Door(label, "", path, query, client)
    if (found := _BY_PATH.match(path)) is not None:
        return Door(found[1], found[0], path[len(found[0]) :] or "/", query, client)
    return None


def leads(core: core_module.Core, label: str) -> bool:
    """Whether a sandbox that lives answers at that label: only then a certificate is made for it."""
    if not _LABEL.match(label):
        return False
    return any(connect_tokens.label(core, identity) == label for identity in core.world.sandboxes)


def admit(core: core_module.Core, request: http.BaseRequest, door: Door) -> Entry:
    """Raises ``Refusal``: 401 without a token of ours, 403 for one that does not open this door. It is the same answer
    whether there is such a sandbox or not."""
    shown = _shown(core, request, door)
    if not shown:
        raise answers.Refusal(401, _UNKNOWN, www_authenticate="Bearer")
    claim, token, place = shown[0]
    one = core.world.sandboxes.get(claim.sandbox_id)
    if connect_tokens.label(core, claim.sandbox_id) != door.label or one is None or not one.alive:
        raise answers.Refusal(403, _UNKNOWN)
    if not ports.admits(one.spec, door.client.address):
        raise answers.Refusal(403, _UNKNOWN)
    if one.state < moves.SandboxState.RUNNING:
        raise answers.Refusal(503, "this does not run yet", retry_after="1")
    query = "&".join(part for part in door.query.split("&") if parse.unquote_plus(part.partition("=")[0]) not in NAMES)
    return Entry(door, one, claim, query, token if place == "query" else "", place == "bearer")


def _shown(
    core: core_module.Core, request: http.BaseRequest, door: Door
) -> list[tuple[connect_tokens.Claim, str, str]]:
    """What the tokens of ours in a request say, the tokens, and where each was. Others are somebody else's business."""
    found: list[tuple[str, str]] = []
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append((value.strip(), "bearer"))
    found += [(value, "query") for name, value in parse.parse_qsl(door.query) if name in NAMES]
    found += [(morsel, "cookie") for name, morsel in _cookies(request) if name in NAMES]
    read = [(connect_tokens.read(core, token), token, place) for token, place in found]
    return [(claim, token, place) for claim, token, place in read if claim is not None]


def _cookies(request: http.BaseRequest) -> list[tuple[str, str]]:
    pairs = (one.partition("=") for line in request.headers.getall("Cookie", ()) for one in line.split(";"))
    return [(name.strip(), value.strip()) for name, _, value in pairs]


async def answer(
    core: core_module.Core, table: visits.Visits, owner: tasks.Tasks, request: http.BaseRequest, door: Door
) -> http.StreamResponse:
    """Raises ``Refusal``."""
    entry = admit(core, request, door)
    if entry.shown and (elsewhere := _elsewhere(core, request, entry)) is not None:
        return elsewhere
    actions.visited(core, entry.sandbox.id, 1)
    try:
        return await _pass_on(core, table, owner, request, entry)
    except (aiohttp.ClientError, http_exceptions.HttpProcessingError, ConnectionError, asyncio.TimeoutError):
        raise answers.Refusal(502, "the program in the sandbox did not answer") from None
    finally:
        actions.visited(core, entry.sandbox.id, -1)


def _elsewhere(core: core_module.Core, request: http.BaseRequest, entry: Entry) -> http.StreamResponse | None:
    """Where a browser goes on that came with a token: to a host name of the sandbox's own, because by path it would
    share its cookies with all others; then to the same address without the token, which pages could read there."""
    door = entry.door
    if request.headers.get("Sec-Fetch-Mode") != "navigate":
        return None
    if door.root:
        port = core.web.tls_port if request.scheme == "https" else core.web.port
        where = f"{request.scheme}://{door.label}.localhost:{port}{door.path}?{door.query}"
        return answers.response(307, "it is there", {"Location": where})
    if request.headers.get("Sec-Fetch-Dest") != "document" or request.method != "GET":
        return None
    where = f"{'/' + door.path.lstrip(_SLASHES)}{'?' if entry.query else ''}{entry.query}"
    return answers.response(303, "it is there", {"Location": where, "Set-Cookie": _cookie(request, entry)})


async def _pass_on(
    core: core_module.Core, table: visits.Visits, owner: tasks.Tasks, request: http.BaseRequest, entry: Entry
) -> http.StreamResponse:
    asked = request.headers.get("Upgrade", "").lower()
    upgrade = asked == "websocket" and "upgrade" in request.headers.get("Connection", "").lower()
    if asked and not upgrade:
        raise answers.Refusal(501, "this only upgrades to WebSockets")
    connector = _Connector(core, table, entry.sandbox.id, entry.claim.port)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, skip_auto_headers=_SAME,
        timeout=aiohttp.ClientTimeout(total=None), max_line_size=_LINE, max_field_size=_FIELD,
    )  # fmt: skip
    url = yarl.URL(f"http://sandbox{entry.door.path}{'?' if entry.query else ''}{entry.query}", encoded=True)
    body = _body(request) if request.can_read_body else None
    async with session, session.request(
        request.method, url, headers=_headers(request, entry, upgrade=upgrade), data=body, allow_redirects=False
    ) as said:
        if said.status == 101:
            if not upgrade:
                raise answers.Refusal(502, "the program switched protocols, which nobody asked for")
            return await _switched(request, said, owner)
        return await _respond(request, said, entry)


def _headers(request: http.BaseRequest, entry: Entry, *, upgrade: bool) -> multidict.CIMultiDict[str]:
    """What the program sees: nothing that opens the door, and who it was opened for in our words alone."""
    made: multidict.CIMultiDict[str] = multidict.CIMultiDict()
    for line in requests.headers(request, entry.door.client, upgrade=upgrade, secret=False):
        name, _, value = line.decode("latin-1").partition(": ")
        if name.replace("_", "-") == USER.lower() or (name in _AGAIN and not (upgrade and name != "expect")):
            continue
        if name == "authorization" and entry.bearer:
            continue
        if name == "cookie":
            kept = [one for one in value.split(";") if one.partition("=")[0].strip() not in NAMES]
            if not (value := ";".join(kept).strip()):
                continue
        made.add(name, value)
    if request.headers.get("Content-Encoding"):  # aiohttp has undone it
        made.popall("content-encoding", None)
        made.popall("content-length", None)
    if entry.door.root:
        made["x-forwarded-prefix"] = entry.door.root
    if entry.claim.metadata is not None:
        made[USER] = entry.claim.metadata
    return made


async def _body(request: http.BaseRequest) -> AsyncIterator[bytes]:
    if "Expect" in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for piece in request.content.iter_any():
        yield piece


async def _respond(request: http.BaseRequest, said: aiohttp.ClientResponse, entry: Entry) -> http.StreamResponse:
    response = http.StreamResponse(status=said.status, reason=said.reason)
    for name, value in said.headers.items():
        if name.lower() not in _HOP:
            response.headers.add(name, value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    if entry.shown:
        response.headers.add("Set-Cookie", _cookie(request, entry))
    whole = request.method == "HEAD" or said.status in _BODILESS or "Content-Length" in response.headers
    if not whole and request.version >= (1, 1):
        response.enable_chunked_encoding()
    elif not whole:
        response.force_close()
    await response.prepare(request)
    try:
        async for piece in said.content.iter_any():
            await response.write(piece)
    except (aiohttp.ClientError, http_exceptions.HttpProcessingError):
        response.force_close()  # it has begun: all that is left is to end it before its end
        if request.transport is not None:
            request.transport.abort()
        return sockets.Sent()
    await response.write_eof()
    return response


def _cookie(request: http.BaseRequest, entry: Entry) -> str:
    secure = "; Secure" if request.scheme == "https" else ""
    return f"{NAMES[0]}={entry.shown}; Path={entry.door.root or '/'}; HttpOnly; SameSite=Lax{secure}"


# -- WebSockets


async def _switched(
    request: http.BaseRequest, said: aiohttp.ClientResponse, owner: tasks.Tasks
) -> http.StreamResponse:
    """Bytes both ways, whatever they mean, until one of them ends."""
    client, connection = request.transport, said.connection
    if client is None or connection is None or connection.transport is None or connection.protocol is None:
        raise answers.Refusal(502, answers.LOST)
    program = connection.transport
    coming, going = _Flow(client), _Flow(program)
    lines = [f"{name}: {value}" for name, value in said.headers.items()]
    client.write("\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode("utf-8"))
    request.protocol.set_parser(coming)  # type: ignore[arg-type]
    connection.protocol.set_parser(going, None)
    ways = [
        owner.start(coming.copy(program, connection.protocol), "web.upgrade"),
        owner.start(going.copy(client, request.protocol), "web.upgrade"),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        program.close()
        client.close()
    return sockets.Sent()


class _Flow(sockets.Bytes):
    """What comes by a connection that speaks HTTP no more, on its way to another one."""

    async def copy(self, target: asyncio.Transport, protocol: Any) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self.next():
                target.write(data)
                await protocol._drain_helper()


class _Connector(aiohttp.BaseConnector):
    """Its connections are made from inside, by the worker of the sandbox."""

    def __init__(self, core: core_module.Core, table: visits.Visits, sandbox_id: str, port: int) -> None:
        super().__init__(force_close=True)
        self._core = core
        self._visits = table
        self._sandbox_id = sandbox_id
        self._port = port

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        arrived: asyncio.Future[tuple[asyncio.Transport, bytes]] = asyncio.get_running_loop().create_future()
        ticket = self._visits.promise(_arriving(arrived))
        try:
            await inside.call(self._core, self._sandbox_id, self._port, ticket)
            transport, early = await asyncio.wait_for(arrived, _PATIENCE)
        except exception.Error:
            raise answers.Refusal(502, f"nothing answers at port {self._port} of the sandbox") from None
        finally:
            self._visits.forget(ticket)
        protocol = self._factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if early:
            protocol.data_received(early)
        return protocol


def _arriving(arrived: asyncio.Future[tuple[asyncio.Transport, bytes]]) -> Callable[[asyncio.Transport, bytes], None]:
    def take(transport: asyncio.Transport, early: bytes) -> None:
        if arrived.done():
            transport.close()
        else:
            arrived.set_result((transport, early))

    return take
