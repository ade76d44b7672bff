"""Requests and responses between the edge and a container, as bytes on a connection of their own.

    edge   ── hello ◄── runner         one connection for each container, made by the runner
    lease (head, small body) ─────────► runner          by the runner's other connection, like any input
    CREDIT ◄──  BODY… END ──►                           a larger body, when the app reads it
    HEAD BODY… END ◄──  CREDIT ──►                      the response
    WHOLE ◄──                                           a short one that is there at once
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
    from typing import Any

HEAD, BODY, END, CREDIT, GONE, TEXT, BINARY, CLOSE, LEASE, DONE, WHOLE = range(1, 12)

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


_DONE, _WHOLE = struct.Struct("!Id?"), struct.Struct("!HHI")


def lease(stream: int, input_id: str, call_id: str, attempt: int, method: str, payload: bytes) -> bytes:
    """An input: what ``RunnerLease`` says of one, and its arguments."""
    data = b"%b\n%b" % (f"{input_id} {call_id} {attempt} {method}".encode(), payload)
    return _HEADER.pack(len(data), LEASE, stream) + data


def leased(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The same as a lease of the other connection, and the arguments."""
    line, _, payload = data.partition(b"\n")
    input_id, call_id, attempt, method = line.decode().split(" ")
    held = {"at": 0, "size": len(payload)}
    return {
        "input_id": input_id, "call_id": call_id, "attempt": int(attempt), "method": method, "payload": held,
    }, payload  # fmt: skip


def ends(scheme: str, client: str, client_port: int, server: str, port: int) -> str:
    """Of ``head``: what the requests of one connection have in common."""
    return f"{scheme}\n{client}\n{client_port}\n{server}\n{port}"


def head(
    kind: str, method: str, path: str, root: str, query: str, version: str, ends: str, lines: list[bytes], *,
    body: bool, protocols: str = "",
) -> bytes:  # fmt: skip
    """What an app is told of a request: lines of text, none of which can hold a line break or a zero byte, then its
    headers. Its number comes first (``numbered``)."""
    about = f"{kind}\n{method}\n{path}\n{root}\n{query}\n{version}\n{body:d}\n{protocols}\n{ends}"
    return b"%b\0%b" % (about.encode("utf-8", "surrogateescape"), b"\n".join(lines))


def numbered(number: int, head: bytes) -> bytes:
    return b"%d\n%b" % (number, head)


def read_head(data: bytes) -> dict[str, Any]:
    """What ``head`` and ``numbered`` made."""
    about, _, headers = data.partition(b"\0")
    (
        number, kind, method, path, root, query, version, body, asked, scheme, client, client_port, server, port,
    ) = about.decode("utf-8", "surrogateescape").split("\n")  # fmt: skip
    return {
        "n": int(number), "kind": kind, "method": method, "path": path, "root": root, "query": query,
        "version": version, "scheme": scheme, "client": (client, int(client_port)), "server": (server, int(port)),
        "headers": [tuple(line.split(b": ", 1)) for line in headers.split(b"\n")],
        "body": body == "1", "subprotocols": [one.strip() for one in asked.split(",") if one.strip()] if asked else [],
    }  # fmt: skip


def whole(status: int, count: int, lines: bytes, body: bytes) -> bytes:
    """What WHOLE says: ``lines`` are the ``count`` headers as HTTP/1.1 writes them."""
    return b"%b%b%b" % (_WHOLE.pack(status, count, len(lines)), lines, body)


def read_whole(data: bytes) -> tuple[int, int, bytes, bytes]:
    """Status, number of headers, their lines, body; whoever wrote that may mean no good. Raises ``InvalidError``."""
    if len(data) < _WHOLE.size:
        raise exception.InvalidError("malformed response")
    status, count, size = _WHOLE.unpack_from(data)
    end = _WHOLE.size + size
    return status, count, data[_WHOLE.size : end], data[end:]


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
            if length > MAX_FRAME or not HEAD <= kind <= WHOLE:
                raise exception.InvalidError("malformed frame of a web connection")
            if size - at < _HEADER.size + length:
                break
            start = at + _HEADER.size
            at = start + length
            self._frame(kind, stream, data[start:at])
        self._rest = data[at:]
