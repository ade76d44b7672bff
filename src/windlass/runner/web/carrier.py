"""The connection to the edge, and the streams on it. All of it on the main thread's event loop."""
from __future__ import annotations

import asyncio
import collections
import json
from typing import TYPE_CHECKING

from windlass import exception
from windlass.runner import work
from windlass.wire import buffered, web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from windlass.wire.messages import containers

_PATIENCE = 10.0  # seconds for a lost connection to come back before what needs it fails
_AGAIN = 0.1
_LARGE = 16 * 1024
_FEW = 4  # answers that wait for each other


def texts(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


class Gone(OSError):
    """The client, or the edge, has gone: there is nobody to answer."""


class Broken(exception.ExecutionError):
    """What answers broke the rules of its interface: the log says how, and its client gets 502."""


class Carrier(buffered.Buffered):
    """Made again when it is lost; its streams are then gone for good."""

    def __init__(self, plan: containers.RunnerPlan) -> None:
        self._plan = plan
        self._path = plan["socket"].rpartition("/")[0] + "/" + web.SOCKET
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Stream] = {}
        self._reader = web.Reader(self._frame)
        self._out: list[bytes] = []
        self._fresh: list[work.Lease] = []
        self._together = 0
        """Leases that came with the last one."""
        self._waiting = 0
        """Answers in ``_out``."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._up = asyncio.Event()
        self._again: asyncio.Task[None] | None = None
        self._take: Callable[[list[work.Lease]], None] | None = None

    async def open(self) -> None:
        """Raises ``ServiceError`` when the edge cannot be reached."""
        self._loop = loop = asyncio.get_running_loop()
        try:
            await loop.create_unix_connection(lambda: self, self._path)
        except OSError as exc:
            raise exception.ServiceError(f"the web edge cannot be reached: {exc}") from exc

    def lend(self, take: Callable[[list[work.Lease]], None]) -> None:
        """From now on inputs may come by this connection; ``take`` gets them."""
        self._take = take
        if self._transport is not None:
            self.write(web.pack(web.LEASE, 0))

    def _leased(self, number: int, data: bytes) -> None:
        described, payload = web.leased(data)
        lease = work.Lease(described, [payload])

        def ended(seconds: float, success: bool) -> None:
            if self._transport is not None:
                self.write(web.done(number, lease.attempt, seconds, success))

        lease.ended = ended
        self._fresh.append(lease)

    def stream(self, number: int) -> Stream:
        stream = self._streams[number] = Stream(self, number)
        return stream

    @property
    def up(self) -> bool:
        return self._transport is not None

    async def ready(self) -> None:
        """Raises ``ServiceError`` when the edge stays away."""
        if self._transport is None:
            try:
                await asyncio.wait_for(self._up.wait(), _PATIENCE)
            except (TimeoutError, asyncio.TimeoutError):
                raise exception.ServiceError("the connection to the web edge was lost") from None

    def write(self, data: bytes) -> None:
        """At the end of the loop's turn, together with what else there is; large pieces at once, without a copy."""
        if self._transport is None:
            raise Gone("the connection to the web edge was lost")
        if len(data) > _LARGE:
            self._flush()
            self._transport.write(data)
            return
        if not self._out:
            assert self._loop is not None
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out, self._waiting = self._out, [], 0
        if out and self._transport is not None:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def hurry(self) -> None:
        """What answers a request that came alone does not wait for the end of the turn: nothing will join it. Else it
        waits for a few others, no more: the edge passes these on while the next ones are made."""
        self._waiting += 1
        if self._together < 2 or self._waiting >= _FEW:
            self._flush()

    def forget(self, number: int) -> None:
        self._streams.pop(number, None)

    def close(self) -> None:
        self._closing = True
        if self._again is not None:
            self._again.cancel()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._reader = web.Reader(self._frame)
        hello = {"container_id": self._plan["container_id"], "token": self._plan["token"]}
        self.write(json.dumps(hello).encode() + b"\n")
        if self._take is not None:
            self.write(web.pack(web.LEASE, 0))
        self._up.set()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        leases, self._fresh = self._fresh, []
        self._together = len(leases)
        if leases and self._take is not None:
            self._take(leases)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._out = None, []
        self._up.clear()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.lost()
        if not self._closing:
            self._again = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        while self._transport is None and not self._closing:
            try:
                await self.open()
            except exception.ServiceError:
                await asyncio.sleep(_AGAIN)

    def _frame(self, kind: int, number: int, data: bytes) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.take(kind, data)
        elif kind == web.LEASE:
            self._leased(number, data)


class Stream:
    """One request. ``take`` is called with each frame of it."""

    def __init__(self, carrier: Carrier, number: int) -> None:
        self._carrier = carrier
        self.number = number
        self.credit = web.WINDOW
        self.gone = False
        self.left = False
        """Whether it is gone because the client is, not the edge."""
        self.asked = False
        """Whether the edge was asked for the body."""
        self._arrived: collections.deque[tuple[int, bytes]] = collections.deque()
        self._waiting: list[asyncio.Future[None]] = []

    # -- what arrives -------------------------------------------------------------------------------------

    def take(self, kind: int, data: bytes) -> None:
        if kind == web.CREDIT:
            self.credit += int.from_bytes(data, "big")
        elif kind == web.GONE:
            self.gone = self.left = True
        else:
            self._arrived.append((kind, data))
        self._wake()

    def lost(self) -> None:
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Until something has arrived."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def next(self) -> tuple[int, bytes]:
        """The next frame of body or messages; ``(GONE, b"")`` when the client has gone."""
        if not self.asked and not self.gone:
            self.asked = True
            await self._carrier.ready()
            self._carrier.write(web.credit(self.number, web.WINDOW))
        while not self._arrived:
            if self.gone:
                return web.GONE, b""
            await self.wait()
        kind, data = self._arrived.popleft()
        if data and not self.gone and kind != web.CLOSE:
            self._carrier.write(web.credit(self.number, len(data)))
        return kind, data

    def unheard(self, exc: BaseException) -> bool:
        """Whether all that went wrong is that the client left before it was answered; Starlette has a name of its own
        for that. What an app raises while it cleans up is a failure like any other."""
        return self.left and (isinstance(exc, Gone) or type(exc).__name__ == "ClientDisconnect")

    # -- what is sent -------------------------------------------------------------------------------------

    async def send(self, kind: int, data: bytes = b"", *, before: bytes = b"", after: bytes = b"") -> None:
        """Send one frame as soon as there is credit; bodies in pieces. ``before``, ``after``: frames beside it.

        Raises ``Gone``.
        """
        if not self._carrier.up and not self.gone:
            await self._carrier.ready()
        if len(data) <= web.PIECE and self.credit > 0 and not self.gone:
            self.credit -= len(data)
            if len(data) > _LARGE:  # without a copy
                self._carrier.write(before + web.header(kind, self.number, len(data)))
                self._carrier.write(data)
                if after:
                    self._carrier.write(after)
                return
            frame = web.pack(kind, self.number, data) if data or kind != web.BODY else b""
            self._carrier.write(before + frame + after)
            return
        view, at = memoryview(data), 0
        if before:
            await self._sent(before, 0)
        step = web.PIECE if kind == web.BODY else max(1, len(data))
        while at < len(data):
            piece = view[at : at + step]
            await self._sent(web.header(kind, self.number, len(piece)), len(piece))
            self._carrier.write(piece)  # type: ignore[arg-type]
            at += len(piece)
        if after:
            await self._sent(after, 0)

    async def _sent(self, data: bytes, size: int) -> None:
        while self.credit <= 0 and not self.gone:
            await self.wait()
        if self.gone:
            raise Gone("the client has gone")
        self.credit -= size
        self._carrier.write(data)

    def short(self, size: int) -> bool:
        """Whether a response of so many bytes goes whole."""
        return size <= _LARGE and self.credit > 0 and not self.gone and self._carrier.up

    def answer(self, status: int, count: int, lines: bytes, body: bytes) -> None:
        """A whole response."""
        self.credit -= len(body)
        self._carrier.write(web.pack(web.WHOLE, self.number, web.whole(status, count, lines, body)))

    async def fault(self, text: str) -> None:
        """The whole answer for one that gave none, or nonsense."""
        described = {"status": 502, "headers": [["content-type", "text/plain; charset=utf-8"]]}
        head, end = web.pack(web.HEAD, self.number, json.dumps(described).encode()), web.pack(web.END, self.number)
        await self.send(web.BODY, f"{text}; its log says more\n".encode(), before=head, after=end)

    def close(self, *, whole: bool) -> None:
        """Nothing more is said. ``whole``: the response was."""
        self._carrier.forget(self.number)
        if not whole and not self.gone and self._carrier.up:
            self._carrier.write(web.pack(web.GONE, self.number))
