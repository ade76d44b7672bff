"""Driving a WSGI app: each request in a thread, its bodies on the event loop."""
from __future__ import annotations

import asyncio
import contextvars
import io
import json
import sys
from concurrent import futures
from typing import TYPE_CHECKING, Any
from urllib import parse

from windlass import exception
from windlass.runner.web import carrier as carriers
from windlass.wire import web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MOST_THREADS = 1000
_SPARE = 16  # threads beyond those that requests may have, for those that do not stop


class App:
    """The user's app, once in each container. ``most``: requests at once."""

    def __init__(self, app: Any, carrier: carriers.Carrier, most: int) -> None:
        if not callable(app):
            raise exception.InvalidError(f"@wsgi_app must return a WSGI app, not {type(app).__name__}")
        self._app: Callable[..., Any] = app
        self._carrier = carrier
        self._most = most
        self._abandoned = 0
        self._threads = futures.ThreadPoolExecutor(min(most, _MOST_THREADS) + _SPARE, "windlass-wsgi")

    async def __call__(self, head: bytes, body: bytes | None = None) -> None:
        request = web.read_head(head)
        loop = asyncio.get_running_loop()
        stream = self._carrier.stream(request["n"])
        call = Call(loop, stream, request)
        try:
            context = contextvars.copy_context()
            environ = self._environ(request, call.input(body))
            work = loop.run_in_executor(self._threads, context.run, call.run, self._app, environ)
            try:
                await asyncio.shield(work)
            except carriers.Broken:
                await call.fault()
                raise
            except Exception as exc:
                if not stream.unheard(exc):
                    raise
            except asyncio.CancelledError:
                self._abandon(work)
                raise
        finally:
            stream.close(whole=call.ended)

    def _abandon(self, work: asyncio.Future[None]) -> None:
        """A thread cannot be stopped: it goes on without anybody, and in the place of a spare one."""
        if work.done():
            return
        self._abandoned += 1
        work.add_done_callback(self._came_back)
        if self._abandoned > _SPARE:
            raise SystemExit("too many requests did not stop when they were interrupted")

    def _came_back(self, work: asyncio.Future[None]) -> None:
        self._abandoned -= 1
        if not work.cancelled():
            work.exception()  # nobody is interested any more

    def _environ(self, request: dict[str, Any], body: io.BufferedIOBase) -> dict[str, Any]:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request["method"],
            "SCRIPT_NAME": request["root"],
            "PATH_INFO": parse.unquote_to_bytes(request["path"]).decode("latin-1"),
            "QUERY_STRING": request["query"],
            "SERVER_NAME": str(request["server"][0]),
            "SERVER_PORT": str(request["server"][1]),
            "SERVER_PROTOCOL": f"HTTP/{request['version']}",
            "REMOTE_ADDR": request["client"][0],
            "REMOTE_PORT": str(request["client"][1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request["scheme"],
            "wsgi.input": body,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": self._most > 1,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in carriers.texts(request["headers"]):
            key = name.upper().replace("-", "_")
            if "_" in name:  # could stand for another header, with which the app trusts us
                continue
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


class Input(io.RawIOBase):
    """The request's body as a file, read by the app's thread."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._rest = b""
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._over:
            kind, data = self._call.wait(self._call.stream.next())
            if kind == web.BODY:
                self._rest = data
            elif kind == web.END:
                self._over = True
            else:
                raise carriers.Gone("the client has gone in the middle of its request")
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class Call:
    """One request, in its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: carriers.Stream, request: dict[str, Any]) -> None:
        self._loop = loop
        self.stream = stream
        self._streams = request["body"]
        self._bodiless = request["method"] == "HEAD"
        self._head: bytes | None = None
        self._sent = False
        self.ended = False

    async def fault(self) -> None:
        if not self._sent and not self.stream.gone:
            self.ended = True
            await self.stream.fault("the app did not answer as WSGI wants it")

    def input(self, body: bytes | None) -> io.BufferedIOBase:
        if self._streams and body is None:
            return io.BufferedReader(Input(self), web.PIECE)
        return io.BytesIO(body or b"")

    def wait(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()

    def run(self, app: Callable[..., Any], environ: dict[str, Any]) -> None:
        result: Iterable[bytes] = app(environ, self._start)
        try:
            if isinstance(result, (list, tuple)):
                self._send(b"".join(result), end=True)
                return
            for piece in result:
                if piece:
                    self._send(piece)
            self._send(b"", end=True)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info is not None and self._sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._head is not None and exc_info is None:
            raise carriers.Broken("the app began its response twice")
        described = {"status": int(status[:3]), "headers": [[str(name), str(value)] for name, value in headers]}
        self._head = web.pack(web.HEAD, self.stream.number, json.dumps(described).encode())
        return self._send

    def _send(self, data: bytes, end: bool = False) -> None:
        if self._head is None:
            raise carriers.Broken("the app sent a body before it called start_response")
        before = b"" if self._sent else self._head
        self._sent = True
        after = web.pack(web.END, self.stream.number) if end else b""
        self.wait(self.stream.send(web.BODY, b"" if self._bodiless else data, before=before, after=after))
        self.ended = end
