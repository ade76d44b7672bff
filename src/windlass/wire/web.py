"""Requests and responses between the edge and a container, as bytes on a connection of their own.

    edge   ── hello ◄── runner         one connection for each container, made by the runner
    lease (head, small body) ─────────► runner          by the runner's other connection, like any input
    CREDIT ◄──  BODY… END ──►                           a larger body, when the app reads it
    HEAD BODY… END ◄──  CREDIT ──►                      the response
    TEXT, BINARY, CLOSE ◄──►                            messages of a WebSocket

Where inputs run side by side even the lease (LEASE) and a success (DONE) come by this connection: one wake of one
thread at each end, in the place of three. (The answer to a request that came alone does not wait for its DONE.)
All else that is said of inputs goes the ordinary way.

Each frame is a header (length, kind, stream) and so many bytes. A stream is one request; its number comes with the
lease. Bytes of bodies and messages are sent as far as the receiver has given credit, so that neither end holds more
than ``WINDOW`` of a stream. Nothing is sent twice: when the connection is lost, so are its streams (ADR 0016).
"""
from __future__ import annotations

import struct

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HEAD, BODY, END, CREDIT, GONE, TEXT, BINARY, CLOSE, LEASE, DONE = range(1, 11)

WINDOW = 1024 * 1024
"""Bytes of one stream that may be on their way in one direction."""
PIECE = 256 * 1024
"""Bytes that are sent at once."""
INLINE = 64 * 1024
"""Bytes of a request's body that travel with its head."""
MAX_MESSAGE = 2 * 1024 * 1024
"""Bytes of one message of a WebSocket."""
MAX_FRAME = MAX_MESSAGE + 1024
SOCKET = "web.sock"
"""Beside the server's socket for containers."""

_HEADER = struct.Struct("!IBI")


def pack(kind: int, stream: int, data: bytes = b"") -> bytes:
    return _HEADER.pack(len(data), kind, stream) + data


def header(kind: int, stream: int, size: int) -> bytes:
    return _HEADER.pack(size, kind, stream)


def credit(stream: int, size: int) -> bytes:
    return _HEADER.pack(4, CREDIT, stream) + size.to_bytes(4, "big")


_DONE = struct.Struct("!Id?")


def lease(stream: int, described: bytes, payload: bytes) -> bytes:
    """An input: what ``RunnerLease`` says of one, and its arguments."""
    data = len(described).to_bytes(4, "big") + described + payload
    return _HEADER.pack(len(data), LEASE, stream) + data


def leased(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:4], "big")
    return data[4 : 4 + size], data[4 + size :]


def done(stream: int, attempt: int, seconds: float, success: bool) -> bytes:
    """An input ended; unless it was a ``success``, how it did is said elsewhere."""
    return pack(DONE, stream, _DONE.pack(attempt, seconds, success))


def read_done(data: bytes) -> tuple[int, float, bool]:
    """Attempt, seconds, success. Raises ``InvalidError``."""
    if len(data) != _DONE.size:
        raise exception.InvalidError("malformed end of an input")
    attempt, seconds, success = _DONE.unpack(data)
    return attempt, seconds, success


class Reader:
    """Takes bytes as they come and calls ``frame(kind, stream, data)``; bodies are handed on in pieces."""

    def __init__(self, frame: Callable[[int, int, bytes], None]) -> None:
        self._frame = frame
        self._rest = b""
        self._left = 0
        self._stream = 0

    def feed(self, data: bytes) -> None:
        """Raises ``InvalidError`` for what is no frame."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                self._frame(BODY, self._stream, piece)
                continue
            if size - at < _HEADER.size:
                break
            length, kind, stream = _HEADER.unpack_from(data, at)
            if kind == BODY:
                at += _HEADER.size
                self._left, self._stream = length, stream
                continue
            if length > MAX_FRAME or not HEAD <= kind <= DONE:
                raise exception.InvalidError("malformed frame of a web connection")
            if size - at < _HEADER.size + length:
                break
            start = at + _HEADER.size
            at = start + length
            self._frame(kind, stream, data[start:at])
        self._rest = data[at:]
