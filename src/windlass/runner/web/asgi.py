"""Driving an ASGI app: its lifespan once in each container, then each request, with streams both ways."""
from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib import parse

from windlass import exception
from windlass.runner.web import carrier as carriers
from windlass.wire import web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    Event = MutableMapping[str, Any]

_VERSIONS = {"version": "3.0", "spec_version": "2.4"}
_LIFESPAN = 30.0  # seconds for the app to close down
_FIRST = 5.0  # seconds for the first message of a WebSocket's client


class App:
    """The user's app, once in each container."""

    def __init__(self, app: Any, carrier: carriers.Carrier) -> None:
        self._app = _single(app)
        self._carrier = carrier
        self._state: dict[str, Any] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._said: asyncio.Queue[Event | None] = asyncio.Queue()
        self._lifespan: asyncio.Task[None] | None = None

    # -- lifespan -----------------------------------------------------------------------------------------

    async def startup(self) -> None:
        """Raises what the app raises, or ``ExecutionError`` when it says that it cannot start."""
        self._lifespan = asyncio.get_running_loop().create_task(self._live())
        await self._events.put({"type": "lifespan.startup"})
        said = await self._said.get()
        if said is None:  # it knows no lifespan
            self._lifespan = None
        elif said["type"] == "lifespan.startup.failed":
            raise exception.ExecutionError(f"the ASGI app did not start: {said.get('message', '')}")

    async def _live(self) -> None:
        scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self._state}
        try:
            await self._app(scope, self._events.get, self._said.put)
        except Exception:  # noqa: BLE001 - how apps say that they know no lifespan
            pass
        await self._said.put(None)

    async def shutdown(self) -> None:
        if self._lifespan is None or self._lifespan.done():
            return
        await self._events.put({"type": "lifespan.shutdown"})
        try:
            await asyncio.wait_for(self._said.get(), _LIFESPAN)
        except (TimeoutError, asyncio.TimeoutError):
            print("the ASGI app did not close down in time", flush=True)
        self._lifespan.cancel()

    # -- requests -----------------------------------------------------------------------------------------

    async def __call__(self, head: bytes, body: bytes | None = None) -> None:
        request = web.read_head(head)
        stream = self._carrier.stream(request["n"])
        answer = Socket(stream) if request["kind"] == "websocket" else Exchange(stream, request, body)
        try:
            await answer.run(self._app, self._scope(request))
        except Exception as exc:
            if not stream.unheard(exc):
                raise
        finally:
            stream.close(whole=answer.ended)

    def _scope(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = request["kind"]
        raw, root = request["path"], request["root"]
        scope = {
            "type": kind,
            "asgi": _VERSIONS,
            "http_version": request["version"],
            "scheme": request["scheme"].replace("http", "ws") if kind == "websocket" else request["scheme"],
            "path": parse.unquote(root + raw),
            "raw_path": (root + raw).encode("latin-1"),
            "query_string": request["query"].encode("latin-1"),
            "root_path": root,
            "headers": request["headers"],
            "client": request["client"],
            "server": request["server"],
            "state": self._state.copy(),
            "extensions": {},
        }
        if kind == "websocket":
            scope["subprotocols"] = request["subprotocols"]
        else:
            scope["method"] = request["method"]
        return scope


def _single(app: Any) -> Callable[..., Any]:
    """The app as ASGI 3 has it."""
    if not callable(app):
        raise exception.InvalidError(
            f"@asgi_app must return an ASGI app, not {type(app).__name__}", hint="Return what your framework makes."
        )
    called: Callable[..., Any] = app
    return called


def pairs(headers: Iterable[Any]) -> list[list[str]]:
    """Headers as they travel. Raises ``Broken`` for what is no header."""
    found = []
    for name, value in headers:
        try:
            pair = [bytes(name).decode("latin-1"), bytes(value).decode("latin-1")]
        except TypeError:
            raise carriers.Broken("the app sent headers that are not bytes") from None
        found.append(pair)
    return found


class Head:
    """The head of a response. Raises ``Broken`` for what is none."""

    __slots__ = ("count", "headers", "lines", "sound", "status")

    def __init__(self, status: Any, headers: Iterable[Any]) -> None:
        self.status = status
        self.headers = [(name, value) for name, value in headers]
        self.count = len(self.headers)
        self.sound = isinstance(status, int) and 0 < status < 1000 and self.count < 1000
        """Else the edge looks at it before there is a body."""
        try:
            self.lines = b"".join([b"%b: %b\r\n" % pair for pair in self.headers])
        except TypeError:
            raise carriers.Broken("the app sent headers that are not bytes") from None

    def frame(self, number: int) -> bytes:
        """It alone, where the body comes later."""
        described = {"status": self.status, "headers": pairs(self.headers)}
        return web.pack(web.HEAD, number, json.dumps(described).encode())


class Exchange:
    """One request over HTTP."""

    def __init__(self, stream: carriers.Stream, request: dict[str, Any], body: bytes | None) -> None:
        self._stream = stream
        self._bodiless = request["method"] == "HEAD"
        self._body = body if body is not None else (None if request["body"] else b"")
        self._read = False
        self._head: Head | None = None
        """It waits for what follows at once."""
        self._started = self.ended = False

    async def run(self, app: Callable[..., Any], scope: dict[str, Any]) -> None:
        try:
            await app(scope, self.receive, self.send)
            if not self.ended and not self._stream.gone:
                raise carriers.Broken(
                    "the app returned in the middle of its response" if self._started else "the app did not answer"
                )
        except carriers.Broken:
            if (self._head or not self._started) and not self._stream.gone:
                self._head, self.ended = None, True
                await self._stream.fault("the app did not answer as ASGI wants it")
            raise

    async def receive(self) -> Event:
        if not self._read:
            if self._body is not None:
                body, self._body, self._read = self._body, None, True
                return {"type": "http.request", "body": body, "more_body": False}
            kind, data = await self._stream.next()
            if kind == web.BODY:
                return {"type": "http.request", "body": data, "more_body": True}
            self._read = True
            if kind == web.END:
                return {"type": "http.request", "body": b"", "more_body": False}
            return {"type": "http.disconnect"}
        while not self._stream.gone and not self.ended:
            await self._stream.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        kind = event["type"]
        if kind == "http.response.start":
            if self._started:
                raise carriers.Broken("the app began its response twice")
            self._head = Head(event["status"], event.get("headers", ()))
            self._started = True
            asyncio.get_running_loop().call_soon(self._flush)
        elif kind == "http.response.body":
            if not self._started or self.ended:
                raise carriers.Broken("the app sent a body out of its response")
            if self._stream.gone:
                raise carriers.Gone("the client has gone")
            head, self._head = self._head, None
            more = event.get("more_body", False)
            self.ended = not more
            data = b"" if self._bodiless else event.get("body", b"")
            if head is None or more or not head.sound or not self._stream.short(len(head.lines) + len(data)):
                before = b"" if head is None else head.frame(self._stream.number)
                after = b"" if more else web.pack(web.END, self._stream.number)
                await self._stream.send(web.BODY, data, before=before, after=after)
            else:
                self._stream.answer(head.status, head.count, head.lines, data)
            if self.ended:
                self._stream._carrier.hurry()
                self._stream._wake()
        else:
            raise carriers.Broken(f"unknown ASGI message {kind!r}")

    def _flush(self) -> None:
        """The head goes alone when its body does not follow at once."""
        head, self._head = self._head, None
        if head is not None and not self._stream.gone:
            self._stream._carrier.write(head.frame(self._stream.number))


class Socket:
    """One WebSocket."""

    def __init__(self, stream: carriers.Stream) -> None:
        self._stream = stream
        self._connected = self._accepted = self._closed = False
        self._refusal: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self._closed

    async def run(self, app: Callable[..., Any], scope: dict[str, Any]) -> None:
        scope["extensions"]["websocket.http.response"] = {}
        try:
            await app(scope, self.receive, self.send)
        except BaseException:
            await self._end(1011)
            raise
        await self._end(1000)

    async def _end(self, code: int) -> None:
        if self._closed or self._stream.gone:
            return
        if self._accepted:
            await self.send({"type": "websocket.close", "code": code})
        elif code == 1000:
            await self.send({"type": "websocket.close"})

    async def receive(self) -> Event:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if self._closed:
            return {"type": "websocket.disconnect", "code": 1006}
        kind, data = await self._stream.next()
        if kind == web.TEXT:
            return {"type": "websocket.receive", "text": data.decode("utf-8", "replace"), "bytes": None}
        if kind == web.BINARY:
            return {"type": "websocket.receive", "bytes": data, "text": None}
        self._closed = True
        if kind == web.CLOSE:
            closed = json.loads(data)
            return {"type": "websocket.disconnect", "code": closed["code"], "reason": closed["reason"]}
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(self, event: Event) -> None:
        kind, stream = event["type"], self._stream
        if self._closed or stream.gone:
            raise carriers.Gone("the WebSocket is closed")
        if kind == "websocket.accept":
            self._accepted = True
            head = {
                "status": 101, "headers": pairs(event.get("headers", ())), "subprotocol": event.get("subprotocol"),
            }  # fmt: skip
            await stream.send(web.HEAD, json.dumps(head).encode())
        elif kind == "websocket.send":
            text = event.get("text")
            if text is not None:
                await stream.send(web.TEXT, text.encode())
            else:
                await stream.send(web.BINARY, event.get("bytes") or b"")
        elif kind == "websocket.close":
            self._closed = True
            if self._accepted:
                closed = {"code": event.get("code", 1000) or 1000, "reason": event.get("reason") or ""}
                await stream.send(web.CLOSE, json.dumps(closed).encode())
            else:
                await self._refuse({"status": 403, "headers": []}, b"")
        elif kind == "websocket.http.response.start":
            self._refusal = {"status": event["status"], "headers": pairs(event.get("headers", ()))}
        elif kind == "websocket.http.response.body":
            if self._refusal is not None:
                refusal, self._refusal = self._refusal, None
                await stream.send(web.HEAD, json.dumps(refusal).encode())
            more = event.get("more_body", False)
            self._closed = not more
            await stream.send(web.BODY, event.get("body", b""), after=b"" if more else web.pack(web.END, stream.number))
        else:
            raise carriers.Broken(f"unknown ASGI message {kind!r}")

    async def _refuse(self, head: dict[str, Any], body: bytes) -> None:
        await self._stream.send(web.HEAD, json.dumps(head).encode())
        await self._stream.send(web.BODY, body, after=web.pack(web.END, self._stream.number))
