"""One end of a connection: many exchanges at once over one ordered stream of frames.

Both ends are alike: each may begin requests (one answer), streams (items and an end) and notices (no answer),
and each answers what the other begins through the ``serve`` callback that it was built with.

    a ── request ──► b      a ── stream ──► b        a ── notice ──► b
    a ◄── reply ──── b      a ◄── item ──── b  …
      or error              a ◄── end ───── b        either side: cancel an exchange it began

Frames written in one turn of the event loop leave in one system call. Back-pressure: whoever sends much
awaits ``drain``.
"""
from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

from windlass import exception
from windlass.wire import codec, status
from windlass.wire.messages import common

Body = Any
Attachments = Sequence[codec.Bytes]
_LARGE = 256 * 1024
_WAY = 1024 * 1024  # bytes on their way: with what sockets have by themselves, both ends wake for each piece of it
_FORCED, _USUAL = 32, socket.SO_SNDBUF  # SO_SNDBUFFORCE, for which one must be root, and SO_SNDBUF


class ConnectionLost(exception.ServiceError):
    """The connection was gone before the other end had said all. ``lived``: the seconds for which it was there."""

    lived = 0.0


class Reply(NamedTuple):
    body: Any
    attachments: list[bytes]


_NOTHING = Reply(None, [])


class Incoming:
    """An exchange that the other end began. Answer it with ``reply``, or ``item``… ``end``, or ``fail``, once."""

    __slots__ = ("_exchange", "attachments", "body", "kind", "method", "on_cancel", "open", "peer")

    def __init__(self, peer: Peer, kind: str, exchange: int, method: str, body: Any, attachments: list[bytes]) -> None:
        self.peer = peer
        self._exchange = exchange
        self.kind = kind
        self.method = method
        self.body = body
        self.attachments = attachments
        self.open = kind != codec.NOTICE
        self.on_cancel: Callable[[], None] | None = None
        """Called when the other end cancels this exchange or the connection is lost."""

    def reply(self, body: Body, attachments: Attachments = ()) -> None:
        if self._close():
            self.peer.send({"k": codec.REPLY, "i": self._exchange, "b": body}, attachments)

    def item(self, body: Body, attachments: Attachments = ()) -> None:
        if self.open:
            self.peer.send({"k": codec.ITEM, "i": self._exchange, "b": body}, attachments)

    def end(self) -> None:
        if self._close():
            self.peer.send({"k": codec.END, "i": self._exchange})

    def fail(self, exc: BaseException) -> None:
        if self._close():
            self.peer.send({"k": codec.ERROR, "i": self._exchange, "e": status.to_wire(exc)})

    def _close(self) -> bool:
        was, self.open = self.open, False
        if was:
            self.peer.forget(self._exchange)
        return was

    def cancelled(self) -> None:
        self.open = False
        if self.on_cancel is not None:
            self.on_cancel()


class Asking(Protocol):
    """Whoever began an exchange here. Both are called as soon as something arrives, and must not raise."""

    def item(self, reply: Reply) -> None:
        """One of a stream."""

    def over(self, reply: Reply, error: exception.Error | None) -> None:
        """The end of the exchange, once: the answer to a request, the end of a stream, or why there is none."""


class _Request:
    __slots__ = ("answer",)

    def __init__(self, answer: asyncio.Future[Reply]) -> None:
        self.answer = answer

    def item(self, reply: Reply) -> None:
        """A request has but one answer."""

    def over(self, reply: Reply, error: exception.Error | None) -> None:
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(reply)
        else:
            self.answer.set_exception(error)


class _Stream:
    """Receiving side of a stream: what has arrived and who waits for it."""

    __slots__ = ("ended", "error", "items", "waiter")

    def __init__(self) -> None:
        self.items: deque[Reply] = deque()
        self.ended = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None

    def item(self, reply: Reply) -> None:
        self.items.append(reply)
        self._wake()

    def over(self, reply: Reply, error: exception.Error | None) -> None:
        self.ended, self.error = True, error
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Peer(asyncio.Protocol):
    """A connection. Hand it to ``loop.create_unix_connection`` or a server as the protocol.

    ``serve`` answers what the other end begins; ``lost`` is called once with the reason when the connection
    is gone. ``encode``/``decode`` turn headers into bytes and back (the server hands in msgspec's).
    """

    def __init__(
        self,
        serve: Callable[[Incoming], None] | None = None,
        *,
        made: Callable[[Peer], None] | None = None,
        lost: Callable[[Peer, BaseException | None], None] | None = None,
        encode: Callable[[dict[str, Any]], bytes] = codec.dumps,
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        self._serve = serve
        self._made = made
        self._lost = lost
        self._encode = encode
        self._decoder = codec.Decoder(decode) if decode is not None else codec.Decoder()
        self._ids = itertools.count(1)
        self._begun: dict[int, Asking] = {}
        self._incoming: dict[int, Incoming] = {}
        self._out: list[codec.Bytes] = []
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Event = asyncio.Event()
        self._refusal: exception.Error | None = None  # why the other end closes the whole connection
        self.identity: Any = None
        """Who is at the other end, as the owner of this peer wrote it after ``hello``."""

    # -- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._made_at = self._loop.time()
        self._transport = transport  # type: ignore[assignment]
        self._writable.set()
        _widen(transport)
        if self._made is not None:
            self._made(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
            for frame in frames:
                self._receive(frame)
        except exception.InvalidError as exc:
            self._drop(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        lost = ConnectionLost("the connection to the other end was lost")
        lost.lived = self._loop.time() - self._made_at
        error = self._refusal or lost
        begun, self._begun = self._begun, {}
        incoming, self._incoming = self._incoming, {}
        for asking in begun.values():
            asking.over(_NOTHING, error)
        for exchange in incoming.values():
            exchange.cancelled()
        if self._lost is not None:
            self._lost(self, exc)

    # -- begin exchanges ----------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._transport is not None

    async def request(self, method: str, body: Body, attachments: Attachments = ()) -> Reply:
        """Ask and wait for the one answer. Raises what the other end answered, or ``ServiceError``."""
        answer: asyncio.Future[Reply] = self._loop_or_fail().create_future()
        exchange = self.begin(codec.REQUEST, method, body, attachments, _Request(answer))
        try:
            return await answer
        finally:
            self.leave(exchange)

    async def stream(self, method: str, body: Body, attachments: Attachments = ()) -> AsyncGenerator[Reply, None]:
        """Ask and iterate over the items. Leaving the loop early cancels the exchange; close the generator."""
        stream = _Stream()
        exchange = self.begin(codec.STREAM, method, body, attachments, stream)
        try:
            while True:
                while stream.items:
                    yield stream.items.popleft()
                if stream.ended:
                    break
                stream.waiter = self._loop.create_future()
                await stream.waiter
            if stream.error is not None:
                raise stream.error
        finally:
            self.leave(exchange)

    def begin(self, kind: str, method: str, body: Body, attachments: Attachments, asking: Asking) -> int:
        """Begin a request or a stream; ``asking`` hears of it. Returns what ``leave`` wants to know."""
        self._loop_or_fail()
        exchange = next(self._ids)
        self.send({"k": kind, "i": exchange, "m": method, "b": body}, attachments)
        self._begun[exchange] = asking
        return exchange

    def leave(self, exchange: int) -> None:
        """Whoever began it is not interested any more. Nothing, when it is over."""
        if self._begun.pop(exchange, None) is not None and self.connected:
            self.send({"k": codec.CANCEL, "i": exchange})

    def notify(self, method: str, body: Body, attachments: Attachments = ()) -> None:
        """Tell; no answer, no guarantee."""
        if self.connected:
            self.send({"k": codec.NOTICE, "i": 0, "m": method, "b": body}, attachments)

    async def drain(self) -> None:
        """Wait until the other end has read enough that more may be sent."""
        await self._writable.wait()

    def refuse(self, why: exception.Error) -> None:
        """Tell the other end why all that it waits for ends, then close."""
        self.send({"k": codec.ERROR, "i": 0, "e": status.to_wire(why)})
        self.close()

    def close(self) -> None:
        """Send what is written, then close."""
        if self._transport is not None:
            self.flush()
            self._transport.close()

    def flush(self) -> None:
        """Hand what was sent to the transport now, and not at the end of this turn of the loop."""
        out, self._out = self._out, []
        if out and self._transport is not None:
            if len(out) > 1 and max(map(len, out)) >= _LARGE and all(type(piece) is bytes for piece in out):
                self._transport.writelines(out)  # what is large, and cannot change any more, need not be copied
            else:
                self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    # -- inside -------------------------------------------------------------------------------------

    def send(self, header: dict[str, Any], attachments: Attachments = ()) -> None:
        if self._transport is None:
            return
        if not self._out:
            self._flush_later()
        self._out.extend(codec.pack(header, attachments, self._encode))

    def forget(self, exchange: int) -> None:
        self._incoming.pop(exchange, None)

    def _flush_later(self) -> None:
        self._loop.call_soon(self.flush)

    def _loop_or_fail(self) -> asyncio.AbstractEventLoop:
        if self._transport is None:
            raise exception.ServiceError("not connected")
        return self._loop

    def limit(self, size: int | None) -> None:
        """Take no frames of more than ``size`` bytes; None: no more than the protocol allows."""
        self._decoder.limit = codec.MAX_HEADER + codec.MAX_ATTACHMENTS if size is None else size

    def _drop(self, exc: BaseException) -> None:
        """Say why, and close: no frame can be told from the next any more."""
        if self._transport is None:
            return
        self.send({"k": codec.ERROR, "i": 0, "e": status.to_wire(exc)})
        self.flush()
        if self._transport.get_write_buffer_size() and self._transport.get_extra_info("socket") is not None:
            self._transport.abort()  # who does not read is not waited for
        else:
            self._transport.close()

    def _receive(self, frame: codec.Frame) -> None:
        header = frame.header
        kind, exchange = header["k"], header.get("i", 0)
        if kind in (codec.REQUEST, codec.STREAM, codec.NOTICE):
            self._begin(kind, exchange, header, frame.attachments)
        elif kind == codec.ITEM:
            if (asking := self._begun.get(exchange)) is not None:
                asking.item(Reply(header.get("b"), frame.attachments))
        elif kind == codec.CANCEL:
            if (incoming := self._incoming.pop(exchange, None)) is not None:
                incoming.cancelled()
        else:
            self._finish(kind, exchange, header, frame.attachments)

    def _begin(self, kind: str, exchange: int, header: dict[str, Any], attachments: list[bytes]) -> None:
        method = header.get("m")
        if not isinstance(method, str):
            raise exception.InvalidError("malformed frame: no method")
        incoming = Incoming(self, kind, exchange, method, header.get("b"), attachments)
        if kind != codec.NOTICE:
            self._incoming[exchange] = incoming
        if self._serve is None:
            incoming.fail(exception.UnimplementedError(f"nobody answers {method} here"))
        else:
            self._serve(incoming)

    def _finish(self, kind: str, exchange: int, header: dict[str, Any], attachments: list[bytes]) -> None:
        error: exception.Error | None = None
        if kind == codec.ERROR:
            body = header.get("e")
            error = status.from_wire(cast("common.ErrorBody", body if isinstance(body, dict) else {}))
        if exchange == 0:
            self._refusal = error
        if (asking := self._begun.pop(exchange, None)) is not None:
            asking.over(Reply(header.get("b"), attachments), error)


def _widen(transport: asyncio.BaseTransport) -> None:
    end = transport.get_extra_info("socket")
    if end is None or end.family != getattr(socket, "AF_UNIX", None):  # Windows has none
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(end.fileno())) as own:
        try:
            own.setsockopt(socket.SOL_SOCKET, _FORCED, _WAY)
        except PermissionError:
            own.setsockopt(socket.SOL_SOCKET, _USUAL, _WAY)  # as much of it as everybody may have
