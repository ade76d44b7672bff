"""``@web_server``: requests go on to a program at a port of the container, as HTTP/1.1."""
from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from typing import Any

from windlass import exception
from windlass.runner.web import carrier as carriers
from windlass.wire import web

_AGAIN = 0.010
_LOOK = 5.0  # seconds between looks at a program that nobody asks
_FAILURES = 3
_LIMIT = 64 * 1024
_IDLE = 4.0  # seconds that a connection is kept for the next request: programs close theirs after five
_TOO_LONG = "the program's response has headers of more than 64 KiB"
_STATUS, _NAME = re.compile(r"[1-9][0-9][0-9]\Z"), re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Nonsense(Exception):
    """What the program says is no HTTP/1.1."""


class Program:
    """What listens at the port."""

    def __init__(self, port: int, carrier: carriers.Carrier) -> None:
        self._host = _outside()
        self.port = port
        self._carrier = carrier
        self._kept: list[tuple[float, _Pair]] = []

    async def wait(self, seconds: float) -> None:
        """Until it accepts connections. Raises ``TimeoutError``."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                pair = await self._connect()
            except OSError:
                if time.monotonic() > deadline:
                    raise exception.TimeoutError(
                        f"nothing listens at port {self.port} after {seconds:g} s",
                        hint="It must listen on all addresses (0.0.0.0), not on localhost alone; "
                        "give it more time with startup_timeout=.",
                    ) from None
                await asyncio.sleep(_AGAIN)
            else:
                pair[1].close()
                return

    async def watch(self) -> None:
        """End the container when the program has stopped, whether anybody asks it or not."""
        failed = 0
        while failed < _FAILURES:
            await asyncio.sleep(_LOOK if not failed else _LOOK / 5)
            try:
                pair = await asyncio.wait_for(self._connect(), _LOOK)
            except OSError:  # refused, or (a TimeoutError) not taken in time
                failed += 1
            except asyncio.TimeoutError:  # before Python 3.11 it is no OSError
                failed += 1
            else:
                failed = 0
                pair[1].close()
        raise SystemExit(f"the program at port {self.port} takes no connections any more")

    async def _connect(self) -> _Pair:
        return await asyncio.open_connection(self._host, self.port, limit=web.PIECE)

    async def __call__(self, head: bytes, body: bytes | None = None) -> None:
        request = web.read_head(head)
        stream = self._carrier.stream(request["n"])
        passing = Passing(self, stream, request, body)
        try:
            await passing.run()
        finally:
            stream.close(whole=passing.ended)

    async def connection(self, *, fresh: bool) -> _Pair:
        now = time.monotonic()
        while self._kept and not fresh:
            since, pair = self._kept.pop()
            if now - since < _IDLE and not pair[0].at_eof() and not pair[1].is_closing():
                return pair
            pair[1].close()
        try:
            return await self._connect()
        except OSError as exc:
            raise SystemExit(f"the program at port {self.port} takes no connections any more: {exc}") from None

    def keep(self, pair: _Pair) -> None:
        self._kept.append((time.monotonic(), pair))


def _outside() -> str:
    """The address by which others see the container."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"  # it has no network
        return str(probe.getsockname()[0])


class Passing:
    """One request."""

    def __init__(self, program: Program, stream: carriers.Stream, request: dict[str, Any], body: bytes | None) -> None:
        self._program = program
        self._stream = stream
        self._request = request
        self._body = body
        self._upgrade = request["kind"] != "http"
        self._begun = self.ended = False
        self._end = web.pack(web.END, stream.number)

    async def run(self) -> None:
        repeatable = self._request["method"] in ("GET", "HEAD", "OPTIONS") and not self._request["body"]
        pair = await self._program.connection(fresh=self._upgrade or not repeatable)
        try:
            kept = await self._pass(pair)
        except (ConnectionError, asyncio.IncompleteReadError):
            pair[1].close()
            if not self._stream.gone:
                await self._fault(f"the program at port {self._program.port} closed the connection early")
            return
        except carriers.Gone as exc:
            pair[1].close()
            if not self._stream.unheard(exc):
                raise
            return
        except Nonsense as exc:
            pair[1].close()
            await self._fault(str(exc))
        except BaseException:
            pair[1].close()
            raise
        if kept:
            self._program.keep(pair)
        else:
            pair[1].close()

    async def _fault(self, text: str) -> None:
        """The program's own failure, which is told in the log and, where nothing has been said yet, to the client."""
        if not self._begun and not self._stream.gone:
            await self._stream.fault("the app's program did not answer as HTTP wants it")
            self.ended = True
        raise exception.ExecutionError(text)

    async def _pass(self, pair: _Pair) -> bool:
        """Returns whether the connection can be used again."""
        reader, writer = pair
        writer.write(self._head())
        if self._body:
            writer.write(self._body)
        sender: asyncio.Task[None] | None = None
        if self._request["body"] or self._upgrade:
            sender = asyncio.get_running_loop().create_task(self._send(writer))
        watcher = asyncio.get_running_loop().create_task(self._watch(writer))
        try:
            status, headers = await _response_head(reader)
            while 100 <= status < 200 and status != 101:
                status, headers = await _response_head(reader)
            length = _length(headers)
            described = {"status": status, "headers": headers, "raw": status == 101}
            self._begun = True
            bare = status != 101 and (self._request["method"] == "HEAD" or status in (204, 304) or length == 0)
            await self._stream.send(web.HEAD, json.dumps(described).encode(), after=self._end if bare else b"")
            kept = await self._receive(reader, status, headers, 0 if bare else length)
            self.ended = True
            return kept and (sender is None or sender.done())
        finally:
            watcher.cancel()
            if sender is not None:
                sender.cancel()

    async def _watch(self, writer: asyncio.StreamWriter) -> None:
        """The client's end is the program's, too."""
        while not self._stream.gone:
            await self._stream.wait()
        writer.transport.abort()

    def _head(self) -> bytes:
        request = self._request
        target = request["path"] + (f"?{request['query']}" if request["query"] else "")
        lines = [f"{request['method']} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in carriers.texts(request["headers"])]
        if request["root"]:
            lines.append(f"x-forwarded-prefix: {request['root']}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        chunked = any(name == b"transfer-encoding" for name, _ in self._request["headers"])
        while True:
            kind, data = await self._stream.next()
            if kind == web.BODY and data:
                writer.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                await writer.drain()
            elif kind == web.END:
                if chunked:
                    writer.write(b"0\r\n\r\n")
                elif self._upgrade and writer.can_write_eof():
                    writer.write_eof()
                return
            else:
                return

    async def _receive(
        self, reader: asyncio.StreamReader, status: int, headers: list[list[str]], length: int | None
    ) -> bool:
        """Pass the body on. Its end goes with its last bytes: who has those may ask again, and finds this one over."""
        found = {name.lower(): value for name, value in headers}
        if status == 101:
            await self._until_closed(reader)
            return False
        if length is not None:
            await self._exactly(reader, length, after=self._end)
        elif "chunked" in found.get("transfer-encoding", "").lower():
            await self._chunks(reader)
        else:
            await self._until_closed(reader)
            return False
        return found.get("connection", "").lower() != "close"

    async def _exactly(self, reader: asyncio.StreamReader, left: int, *, after: bytes = b"") -> None:
        while left:
            data = await reader.read(min(left, web.PIECE))
            if not data:
                raise ConnectionResetError("in the middle of a response")
            left -= len(data)
            await self._stream.send(web.BODY, data, after=b"" if left else after)

    async def _chunks(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                if not (line := await reader.readline()):
                    raise ConnectionResetError("between two chunks")
                size = int(line.split(b";")[0].strip() or b"x", 16)
                if size < 0:
                    raise ValueError
            except ValueError:
                raise Nonsense("the program's response has a malformed chunk") from None
            if size == 0:
                while (await reader.readline()).strip():
                    pass
                await self._stream.send(web.BODY, after=self._end)
                return
            await self._exactly(reader, size)
            await reader.readexactly(2)

    async def _until_closed(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(web.PIECE):
            await self._stream.send(web.BODY, data)
        await self._stream.send(web.BODY, after=self._end)


async def _response_head(reader: asyncio.StreamReader) -> tuple[int, list[list[str]]]:
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise Nonsense(_TOO_LONG) from None
    if len(text) > _LIMIT:
        raise Nonsense(_TOO_LONG)
    first, *lines = text[:-4].split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not _STATUS.match(parts[1]):
        raise Nonsense("the program at the port does not speak HTTP/1.1")
    headers = []
    for line in lines:
        name, found, value = line.partition(":")
        if not found or not _NAME.match(name) or "\n" in value or "\r" in value or "\0" in value:
            raise Nonsense(f"the program's response has a malformed header: {line[:60]!r}")
        headers.append([name, value.strip()])
    return int(parts[1]), headers


def _length(headers: list[list[str]]) -> int | None:
    """Of the body, where that is said. Of two that say how the body ends, chunks count."""
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        headers[:] = [pair for pair in headers if pair[0].lower() != "content-length"]
        return None
    if len(lengths) > 1 or not all(one.isascii() and one.isdigit() for one in lengths):
        raise Nonsense("the program's response has no usable Content-Length")
    return int(lengths.pop()) if lengths else None
