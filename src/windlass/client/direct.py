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
from windlass.client import diary
from windlass.wire import codec, status, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from windlass.wire.messages import common

_GREETED = 5.0  # seconds that a server may take to say who it is


def greet(path: str, hello: common.HelloRequest) -> common.HelloReply:
    """Who answers there.

    Raises:
        OSError: nobody does.
    """
    with _connection(path) as end:
        return _greeted(end, hello)


def request(path: str, hello: common.HelloRequest, method: str, body: Any, *, timeout: float | None = None) -> Any:
    """The answer's body. Without ``timeout`` it is waited for as long as the connection holds, as sessions do.

    Raises:
        OSError: nobody is there, or has gone before the answer came.
        VersionError: who answers is of a release that this one does not understand.
        Error: what was answered.
    """
    diary.note(diary.DEBUG, "asking %s", method)
    with _connection(path) as end:
        answer = _greeted(end, hello)
        if versions.spoken(wire.PROTOCOL, answer["protocol"]) is None:
            raise versions.refused((answer["version"], answer["protocol"]), (hello["version"], wire.PROTOCOL))
        end.settimeout(timeout)
        return _exchanged(end, method, body)


@contextlib.contextmanager
def _connection(path: str) -> Iterator[socket.socket]:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets")
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(_GREETED)
        end.connect(path)
        yield end


def _greeted(end: socket.socket, hello: common.HelloRequest) -> common.HelloReply:
    reply: common.HelloReply = _exchanged(end, "hello", hello)
    return reply


def _exchanged(end: socket.socket, method: str, body: Any) -> Any:
    for piece in codec.pack({"k": codec.REQUEST, "i": 1, "m": method, "b": body}):
        end.sendall(piece)
    decoder = codec.Decoder()
    while data := end.recv(65536):
        for frame in decoder.feed(data):
            if frame.header["k"] == codec.ERROR:
                raise status.from_wire(frame.header.get("e", {}))
            return frame.header.get("b")
    raise ConnectionResetError("the connection to the platform was lost")
