"""Answering: from an HTTP request to an exchange, and from what comes back to the response."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import msgspec
from aiohttp import http_exceptions
from aiohttp import web as http

from windlass import exception
from windlass.kit import tasks
from windlass.server.apply import core as core_module
from windlass.server.decide import admission
from windlass.server.ingress import access, answers, connect, exchanges, flows, fronts, requests, sockets, tokens
from windlass.server.state import machines
from windlass.wire import web

PATIENCE = 150.0
"""Seconds for a response to begin, before the client is asked to come back for it."""
_PARKED = 600.0  # seconds that a slow answer waits for a client that was asked to come back
HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "trailer", "te"})
BODILESS = frozenset({204, 304})
_BREAKS = re.compile("[\r\n\0]").search
_log = logging.getLogger(__name__)


class Edge:
    """Answers each request of the listener."""

    def __init__(self, core: core_module.Core, table: exchanges.Table, owner: tasks.Tasks) -> None:
        self.core = core
        self.table = table
        self.owner = owner
        self.access = access.Log(core.settings.home / "log" / "access.log")
        self.fronts = fronts.Fronts(core.settings.web_trusted)
        self._budget: admission.Budget | None = None
        self.parked: dict[str, exchanges.Exchange] = {}
        """Requests whose clients were asked to come back, by call."""

    async def handle(self, request: http.BaseRequest) -> http.StreamResponse:
        began = asyncio.get_running_loop().time()
        status, label, client = 499, "-", request.remote
        begun, request.protocol.taken = request.protocol.taken, None  # type: ignore[attr-defined]
        try:
            if begun is not None:
                began, target = begun.at, begun.target
                label, client = target.route.label, target.client.address
                response = await self.respond(request, target, begun.exchange, None)
                status = response.status
                return response
            asking = requests.client(self.fronts, request)
            client = asking.address
            if (door := connect.door(self.core, asking, request)) is not None:
                label = door.label
                response = await connect.answer(self.core, self.table.visits, self.owner, request, door)
                status = response.status
                return response
            try:
                target = requests.target(self.core, asking, request)
            except answers.Refusal:
                if (asked := await flows.answer(self.core, request, client)) is None:
                    raise
                status = asked.status
                return asked
            label = target.route.label
            self._pace()
            response = await self._answer(request, target)
            status = response.status
            return response
        except answers.Refusal as refusal:
            status = refusal.status
            return _refused(refusal)
        finally:
            seconds = asyncio.get_running_loop().time() - began
            self.core.measures.web[status] += 1
            self.access.add(client, label, request.method, requests.shown(request), status, seconds)

    def _pace(self) -> None:
        """Refuse what comes faster than the settings allow."""
        settings = self.core.settings
        if not settings.web_rate:
            return
        try:
            self._budget = admission.spend(
                self._budget, self.core.clock.now(), rate=settings.web_rate, burst=settings.rate_burst, tag="web"
            )
        except exception.ResourceExhaustedError:
            raise answers.Refusal(429, answers.TOO_FAST, retry_after="1") from None

    async def _answer(self, request: http.BaseRequest, target: requests.Target) -> http.StreamResponse:
        if target.route.web["requires_proxy_auth"]:
            tokens.check(self.core, target.route, request)
        if (call_id := _result_of(target)) is not None:
            return await self._come_back(request, target, call_id)
        if sockets.wanted(request):
            return await sockets.Upgraded(self, request, target).run()
        return await self._first(request, target)

    async def _first(self, request: http.BaseRequest, target: requests.Target) -> http.StreamResponse:
        body = await _small_body(request)
        streams = body is None
        head = requests.head(request, target, body=streams, kind="http")
        session = request.headers.get(requests.SESSION)
        exchange = self.table.begin(target.route, target.query, head, body or None, session)
        pump = self.owner.start(_pump(request, exchange), "web.body") if streams else None
        return await self.respond(request, target, exchange, pump)

    async def _come_back(
        self, request: http.BaseRequest, target: requests.Target, call_id: str
    ) -> http.StreamResponse:
        """The answer of an earlier request."""
        if request.method not in ("GET", "HEAD"):
            raise answers.Refusal(400, "the answer of an earlier request can only be fetched by GET")
        exchange = self.parked.pop(call_id, None)
        if exchange is None or exchange.call is None or _base(exchange.call.function) is not target.route.function:
            raise answers.Refusal(404, "there is no such answer, or it was fetched already")
        return await self.respond(request, target, exchange, None)

    async def respond(
        self,
        request: http.BaseRequest,
        target: requests.Target,
        exchange: exchanges.Exchange,
        pump: asyncio.Task[None] | None,
    ) -> http.StreamResponse:
        parked = False
        try:
            head = await self.first_frame(exchange, pump)
            if head is None:
                parked = True
                return self._park(request, target, exchange)
            if head["status"] == 101:
                raise answers.Refusal(502, "the app switched protocols, which nobody asked for")
            return await _respond(request, exchange, head)
        except BaseException:
            exchange.gone()
            raise
        finally:
            if not parked:
                exchange.close()
            if pump is not None:
                pump.cancel()

    async def first_frame(
        self, exchange: exchanges.Exchange, pump: asyncio.Task[None] | None
    ) -> dict[str, Any] | None:
        """The head of the response; None when it does not come in time. Raises ``Refusal`` where none will come."""
        while True:
            first = await exchange.first(PATIENCE)
            if first is None:
                if pump is not None and not pump.done():
                    continue  # the request itself is not through yet
                return None
            kind, data = first
            if exchange.refused:
                raise answers.Refusal(exchange.refused, answers.BAD_BODY)
            if kind == web.HEAD:
                return head_of(data)
            if kind == web.GONE:
                if exchange.status == exchanges.LOST:
                    raise answers.Refusal(502, answers.LOST)
                raise answers.ended(exchange.status or 0)

    def _park(
        self, request: http.BaseRequest, target: requests.Target, exchange: exchanges.Exchange
    ) -> http.StreamResponse:
        assert exchange.call is not None
        call_id = exchange.call.id
        self.parked[call_id] = exchange
        asyncio.get_running_loop().call_later(_PARKED, self._forget, call_id, exchange)
        query = "&".join(part for part in (target.query, f"{requests.RESULT}={call_id}") if part)
        where = f"{target.root}{target.path}?{query}"
        return answers.response(303, "come back for the answer", {"Location": where})

    def _forget(self, call_id: str, exchange: exchanges.Exchange) -> None:
        if self.parked.get(call_id) is exchange:
            del self.parked[call_id]
            exchange.gone()
            exchange.close()


def _base(function: machines.Function) -> machines.Function:
    return function.variant_of or function


def _result_of(target: requests.Target) -> str | None:
    if requests.RESULT not in target.query:
        return None
    for part in target.query.split("&"):
        name, _, value = part.partition("=")
        if name == requests.RESULT:
            return value
    return None


def _refused(refusal: answers.Refusal) -> http.Response:
    headers = {name.replace("_", "-").title(): value for name, value in refusal.headers.items()}
    return answers.response(refusal.status, refusal.text, headers)


async def _small_body(request: http.BaseRequest) -> bytes | None:
    """The whole body where it is short and says so; None where it is to be streamed."""
    if not request.can_read_body:
        return b""
    length = request.content_length
    if length is not None and length > requests.MAX_BODY:
        raise answers.Refusal(413, "a request's body may have 4 GiB")
    if length is None or length > web.INLINE or "Expect" in request.headers:
        return None
    try:
        return await asyncio.wait_for(request.content.read(), 60.0)
    except (TimeoutError, asyncio.TimeoutError):
        raise answers.Refusal(408, "the body did not come in time") from None


async def _pump(request: http.BaseRequest, exchange: exchanges.Exchange) -> None:
    """The body, as fast as the app reads it."""
    sent, total = 100 if "Expect" not in request.headers else 0, 0
    try:
        while True:
            while exchange.credit <= 0:
                if exchange.status is not None:
                    return
                await exchange.wait()
            if not sent and request.transport is not None:
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                sent = 100
            data = await request.content.readany()
            if not data:
                break
            total += len(data)
            if total > requests.MAX_BODY:
                exchange.refuse(413)
                return
            exchange.send(web.BODY, data)
        exchange.send(web.END)
    except (http.RequestPayloadError, http_exceptions.HttpProcessingError, ConnectionError):
        exchange.refuse(400)


def head_of(data: bytes) -> dict[str, Any]:
    try:
        head: dict[str, Any] = msgspec.json.decode(data)
        status = head["status"]
        if not isinstance(status, int) or not (200 <= status <= 999 or status == 101):
            raise answers.Refusal(502, "the app answered with a status that is none")
        for name, value in head["headers"]:
            if not name or _BREAKS(name + value):
                raise answers.Refusal(502, "the app answered with a malformed header")
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise answers.Refusal(502, "the app answered with what is no response") from None
    return head


async def _respond(
    request: http.BaseRequest, exchange: exchanges.Exchange, head: dict[str, Any]
) -> http.StreamResponse:
    status = head["status"]
    if exchange.complete and sum(len(data) for _, data in exchange.arrived) <= web.PIECE:
        body = b"".join(data for kind, data in exchange.arrived if kind == web.BODY)
        exchange.arrived.clear()
        whole = http.Response(status=status, body=body)
        whole.headers.clear()
        _copy(head, whole)
        length = whole.headers.get("Content-Length")
        if length is not None and length != str(len(body)) and request.method != "HEAD" and status not in BODILESS:
            raise answers.Refusal(502, "the app's response is not as long as it said")
        return whole
    response = http.StreamResponse(status=status)
    _copy(head, response)
    if "Content-Length" not in response.headers and request.version >= (1, 1):
        response.enable_chunked_encoding()
    elif "Content-Length" not in response.headers:
        response.force_close()
    await response.prepare(request)
    await _stream(request, exchange, response)
    return response


def _text(value: str) -> str:
    """What aiohttp writes as the bytes that the app sent: it encodes as UTF-8."""
    raw = value.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return value


def _copy(head: dict[str, Any], response: http.StreamResponse) -> None:
    for name, value in head["headers"]:
        if name.lower() not in HOP:
            response.headers.add(name, value if value.isascii() else _text(value))
    response.headers.setdefault("Server", "windlass")


async def _stream(
    request: http.BaseRequest, exchange: exchanges.Exchange, response: http.StreamResponse
) -> None:
    length = response.headers.get("Content-Length")
    left = int(length) if length is not None and length.isdigit() else None
    while True:
        kind, data = await exchange.next()
        if kind == web.BODY:
            if left is not None:
                left -= len(data)
                if left < 0:
                    break
            await response.write(data)
            exchange.taken(len(data))
        elif kind == web.END:
            if left:
                break
            await response.write_eof()
            return
        elif kind == web.GONE:
            break
    # What was begun cannot be taken back: the client must see that it is not whole.
    if request.transport is not None:
        request.transport.abort()
