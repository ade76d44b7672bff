"""A stream of bytes that outlives the connections that carry it: each end keeps what the other has not confirmed.

    Peer ── write ──► Tether ── pieces with offsets ──► carrier (a WebSocket, or HTTP requests) ──► the other Tether
                        ▲ keeps them until confirmed          may break: the next one goes on where the other end is

To its ``Peer`` it is a transport. Carriers pull: they are woken, then ``read`` what they have not sent. Each piece says
where in the stream it belongs and how much of the other direction has arrived, so nothing is lost or taken twice.
No I/O here.
"""
from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from windlass import exception

HEAD = struct.Struct(">BQQ")
"""Kind, where in the stream, how much of the other direction has arrived."""
DATA, OVER = 0, 1

PIECE = 256 * 1024
"""Bytes of the stream in one piece: proxies pass so much by default."""

BEAT = 10.0
"""Seconds after which an end that has nothing to say says so."""
SILENCE = 25.0
"""Seconds without a word after which a carrier is taken for dead."""

_CONFIRM = 256 * 1024  # bytes that have arrived, after which the other end hears of it without being asked
_HIGH = 4 * 1024 * 1024


class Carrier(Protocol):
    """What brings pieces to the other end. Both methods are called in the loop and return at once."""

    def wake(self) -> None:
        """There is something to read, or to confirm."""

    def drop(self) -> None:
        """Another one took over, or the stream has ended. What was woken for may still be sent."""


class Piece:
    """Of the stream, as it travels."""

    __slots__ = ("data", "got", "kind", "start")

    def __init__(self, message: bytes) -> None:
        """Raises ``InvalidError``."""
        if len(message) < HEAD.size or message[0] > OVER:
            raise exception.InvalidError("malformed piece of a stream")
        self.kind, self.start, self.got = HEAD.unpack_from(message)
        self.data = message[HEAD.size :]


class Tether(asyncio.Transport):
    """One end. ``protocol``: whose transport it is."""

    def __init__(self, protocol: asyncio.Protocol, *, remote: str = "") -> None:
        super().__init__()
        self._protocol = protocol
        self._remote = remote
        self._kept: deque[bytes] = deque()
        self._base = 0  # where in the stream the first of them begins
        self.end = 0
        """Where what was written ends."""
        self.got = 0
        """How much of the other direction has arrived."""
        self.told = 0
        """How much of that the other end was told of."""
        self._high, self._low = _HIGH, _HIGH // 4
        self._is_paused = False
        self._carrier: Carrier | None = None
        self._closing = self._lost = False

    def begin(self) -> None:
        self._protocol.connection_made(self)

    # -- to the protocol: a transport -------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if not data or self._closing:
            return
        data = bytes(data)
        for at in range(0, len(data), PIECE):  # so that what is confirmed of a large one can go
            self._kept.append(data if len(data) <= PIECE else data[at : at + PIECE])
        self.end += len(data)
        if self.end - self._base > self._high and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()
        if self._carrier is not None:
            self._carrier.wake()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self.end - self._base

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._remote if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Both ends end here; what was written is sent if there is a carrier."""
        if not self._closing:
            self._closing = True
            if self._carrier is not None:
                self._carrier.wake()
                self._carrier.drop()
            self._end(None)

    def abort(self) -> None:
        self.close()

    # -- to carriers --------------------------------------------------------------------------------------

    @property
    def carrier(self) -> Carrier | None:
        return self._carrier

    @property
    def over(self) -> bool:
        """Whether the stream has ended: it takes no other carrier."""
        return self._lost

    def attach(self, carrier: Carrier, got: int) -> None:
        """Go on with ``carrier``; the other end has ``got`` so much. Raises ``InvalidError``: that cannot be."""
        self.confirmed(got)
        former, self._carrier = self._carrier, carrier
        if former is not None and former is not carrier:
            former.drop()
        carrier.wake()

    def detach(self, carrier: Carrier) -> bool:
        """It is gone. Whether it was the one in use."""
        was = self._carrier is carrier
        if was:
            self._carrier = None
        return was

    def read(self, start: int, limit: int = PIECE) -> bytes:
        """Bytes of the stream from ``start``, at most ``limit``."""
        kept = self._kept
        if kept and start == self.end - len(kept[-1]) and len(kept[-1]) <= limit:
            return kept[-1]  # what was just written
        parts: list[bytes] = []
        at, left = self._base, limit
        for data in kept:
            if at + len(data) > start:
                part = data[start - at if start > at else 0 :][:left]
                parts.append(part)
                left -= len(part)
                if not left:
                    break
            at += len(data)
        return b"".join(parts)

    def message(self, start: int, limit: int = PIECE) -> tuple[bytes, int]:
        """A piece as it travels, with what there is from ``start``; and where it ends."""
        data = self.read(start, limit) if start < self.end else b""
        self.told = self.got
        stop = start + len(data)
        kind = OVER if self._closing and stop == self.end else DATA
        return HEAD.pack(kind, start, self.got) + data, stop

    def take(self, piece: Piece) -> None:
        """A piece that has arrived. Raises ``InvalidError`` for one that cannot follow what is here."""
        if self._closing:
            return
        if piece.start > self.got:
            raise exception.InvalidError("a stream with a gap")
        self.confirmed(piece.got)
        fresh = piece.data[self.got - piece.start :] if piece.start < self.got else piece.data
        if fresh:
            self.got += len(fresh)
            self._protocol.data_received(fresh)
        if piece.kind == OVER:
            self.lose(None)
        elif self._carrier is not None and self.got - self.told >= _CONFIRM:
            self._carrier.wake()

    def confirmed(self, got: int) -> None:
        """The other end has so much."""
        if not self._base <= got <= self.end:
            if got < self._base:
                return  # an older word, overtaken by a newer one
            raise exception.InvalidError("a stream of which more has arrived than was sent")
        kept = self._kept
        while kept and self._base + len(kept[0]) <= got:
            self._base += len(kept.popleft())
        if self._base < got:
            kept[0] = kept[0][got - self._base :]
            self._base = got
        if self._is_paused and self.end - self._base <= self._low:
            self._is_paused = False
            self._protocol.resume_writing()

    def reaches(self, got: int) -> bool:
        """Whether an end that has ``got`` so much can be served from what is kept."""
        return self._base <= got <= self.end

    def lose(self, exc: Exception | None) -> None:
        """No carrier will come any more."""
        self._closing = True
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.drop()
        self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, exc)
