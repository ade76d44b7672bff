"""One question to the platform of this machine, over its Unix socket, without an event loop.

    connect ── hello ──► ◄── answer ── question ──► ◄── answer ── close

The command line asks most things once and ends: a session, its loop and its thread would cost more than the answer.
The frames are those of every connection. What needs patience (a platform that is not there yet, a lost connection,
one that wants us slower) is a session's business: it is told as an ``OSError`` or as ``ThrottledError``, and as every
request may be repeated, the caller asks again there.
"""
from __future__ import annotations

import contextlib
import socket

from windlass import wire
from windlass.client import diary, listener
from windlass.wire import codec, status, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from windlass.wire.messages import common

_GREETED = 5.0  # seconds that a server may take to say who it is


def greet(path: str, hello: common.HelloRequest, *, home: Path | None = None) -> common.HelloReply:
    """Who answers there. ``home``: whose platform it must be.

    Raises:
        OSError: nobody does.
        PermissionDeniedError: somebody else does.
    """
    with _connection(path, home) as connection:
        return _greeted(connection, hello)


def request(
    path: str, hello: common.HelloRequest, method: str, body: Any, *, timeout: float | None = None,
    home: Path | None = None,
) -> Any:  # fmt: skip
    """The answer's body. Without ``timeout`` it is waited for as long as the connection holds, as sessions do.
    ``home``: whose platform it must be.

    Raises:
        OSError: nobody is there, or has gone before the answer came.
        PermissionDeniedError: somebody else is there.
        VersionError: who answers is of a release that this one does not understand.
        Error: what was answered.
    """
    diary.note(diary.DEBUG, "asking %s", method)
    with _connection(path, home) as connection:
        answer = _greeted(connection, hello)
        if versions.spoken(wire.PROTOCOL, answer["protocol"]) is None:
            raise versions.refused((answer["version"], answer["protocol"]), (hello["version"], wire.PROTOCOL))
        connection.end.settimeout(timeout)
        return connection.ask(method, body)


class _Connection:
    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._asked = 0
        self._frames = self._arriving()

    def ask(self, method: str, body: Any) -> Any:
        """What is answered to this; whatever else comes is passed over."""
        self._asked += 1
        for piece in codec.pack({"k": codec.REQUEST, "i": self._asked, "m": method, "b": body}):
            self.end.sendall(piece)
        for frame in self._frames:
            kind, exchange = frame.header["k"], frame.header.get("i")
            if exchange == self._asked and kind == codec.ERROR:
                raise status.from_wire(frame.header.get("e", {}))
            if exchange == self._asked and kind == codec.REPLY:
                return frame.header.get("b")
        raise ConnectionResetError("the connection to the platform was lost")

    def _arriving(self) -> Iterator[codec.Frame]:
        """One for the connection: a chunk may hold more than the frame that is waited for."""
        decoder = codec.Decoder()
        while data := self.end.recv(65536):
            yield from decoder.feed(data)


@contextlib.contextmanager
def _connection(path: str, home: Path | None) -> Iterator[_Connection]:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets")
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(_GREETED)
        end.connect(path)
        if home is not None:
            listener.check(end, path, home)
        yield _Connection(end)


def _greeted(connection: _Connection, hello: common.HelloRequest) -> common.HelloReply:
    reply: common.HelloReply = connection.ask("hello", hello)
    return reply
