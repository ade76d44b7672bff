"""Questions to the platform of this machine, over its Unix socket, without an event loop.

    connect ── hello ──► ◄── answer ── question ──► ◄── answer ── close

The command line asks most things once and ends, or a few in turn: a session, its loop and its thread would cost more
than the answers. The frames are those of every connection. What needs patience (a platform that is not there yet, a
lost connection, one that wants us slower) is a session's business: it is told as an ``OSError`` or as
``ThrottledError``, and as every request may be repeated, the caller asks again there.
"""
from __future__ import annotations

import contextlib
import socket
import time

from windlass import wire
from windlass.client import diary, listener
from windlass.wire import codec, status, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any, Protocol

    from windlass.client import address
    from windlass.wire.messages import common

    class Way(Protocol):
        """A socket, or what stands for one."""

        def sendall(self, data: codec.Bytes, /) -> None: ...

        def recv(self, size: int, /) -> bytes: ...

        def settimeout(self, seconds: float | None, /) -> None: ...

        def close(self) -> None: ...

_GREETED = 5.0  # seconds that a server may take to say who it is
_PIECE = 64 * 1024


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
    with connected(path, hello, home=home) as connection, connection.limit(timeout):
        return connection.ask(method, body).body


@contextlib.contextmanager
def connected(path: str, hello: common.HelloRequest, *, home: Path | None = None) -> Iterator[Connection]:
    """A connection for a few questions. Raises like ``request``."""
    with _connection(path, home) as connection:
        _agree(connection, hello)
        yield connection


def opened(where: address.Address, *, patience: float) -> Connection:
    """A connection that stays until it is closed, also to a platform on another machine. ``patience``: seconds of
    silence after which what is asked later raises the built-in ``TimeoutError``. Raises like ``request``."""
    if where.remote is None:
        end: Way = _reached(where.socket, where.home)
    else:
        from windlass.client.remote import keeper, way

        end = way.connect(next(filter(keeper.carrier_to, where.places), where.remote))
    connection = Connection(end, patience)
    try:
        _agree(connection, where.hello)
    except BaseException:
        connection.close()
        raise
    return connection


class Connection:
    """One exchange at a time. Each raises ``OSError`` where the connection is lost, and what was answered."""

    def __init__(self, end: Way, patience: float | None = None) -> None:
        self._end = end
        self._patience = patience
        self._asked = 0
        self._frames = self._arriving()
        self._deadline: float | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float | None) -> Iterator[None]:
        """What is asked in the block must be answered by its end; None: as long as the connection holds. Raises the
        built-in ``TimeoutError``, after which nothing more can be asked."""
        self._deadline = None if seconds is None else time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def close(self) -> None:
        self._end.close()

    def ask(self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()) -> codec.Frame:
        """What is answered to this; whatever else comes is passed over."""
        diary.note(diary.DEBUG, "asking %s", method)
        self._begin(codec.REQUEST, method, body, attachments)
        for kind, frame in self._answers():
            if kind == codec.REPLY:
                return frame
        raise ConnectionResetError("the connection to the platform was lost")

    def follow(self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()) -> Iterator[codec.Frame]:
        """The items of a stream. What comes after who read it has left is passed over."""
        diary.note(diary.DEBUG, "following %s", method)
        self._begin(codec.STREAM, method, body, attachments)
        for kind, frame in self._answers():
            if kind == codec.ITEM:
                yield frame
            elif kind == codec.END:
                return
        raise ConnectionResetError("the connection to the platform was lost")

    def first(self, method: str, body: Any, attachments: Sequence[codec.Bytes]) -> codec.Frame:
        """The first item of a stream; what follows is passed over."""
        for frame in self.follow(method, body, attachments):
            return frame
        raise ConnectionResetError("the stream ended without an item")

    def _begin(self, kind: str, method: str, body: Any, attachments: Sequence[codec.Bytes]) -> None:
        self._asked += 1
        self._wait()
        for piece in codec.pack({"k": kind, "i": self._asked, "m": method, "b": body}, attachments):
            self._end.sendall(piece)

    def _answers(self) -> Iterator[tuple[str, codec.Frame]]:
        for frame in self._frames:
            if frame.header.get("i") == self._asked:
                if frame.header["k"] == codec.ERROR:
                    raise status.from_wire(frame.header.get("e", {}))
                yield frame.header["k"], frame

    def _arriving(self) -> Iterator[codec.Frame]:
        """One for the connection: a chunk may hold more than the frame that is waited for."""
        decoder = codec.Decoder()
        while data := self._received():
            yield from decoder.feed(data)

    def _received(self) -> bytes:
        self._wait()
        return self._end.recv(_PIECE)

    def _wait(self) -> None:
        if self._deadline is None:
            self._end.settimeout(self._patience)
        elif (left := self._deadline - time.monotonic()) > 0:
            self._end.settimeout(left)
        else:
            raise TimeoutError("no answer came in time")


@contextlib.contextmanager
def _connection(path: str, home: Path | None) -> Iterator[Connection]:
    with _reached(path, home) as end:
        yield Connection(end)


def _reached(path: str, home: Path | None) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets")
    with contextlib.ExitStack() as refused:
        end = refused.enter_context(socket.socket(socket.AF_UNIX))
        end.settimeout(_GREETED)
        end.connect(path)
        if home is not None:
            listener.check(end, path, home)
        refused.pop_all()
    return end


def _agree(connection: Connection, hello: common.HelloRequest) -> None:
    answer = _greeted(connection, hello)
    if versions.spoken(wire.PROTOCOL, answer["protocol"]) is None:
        raise versions.refused((answer["version"], answer["protocol"]), (hello["version"], wire.PROTOCOL))


def _greeted(connection: Connection, hello: common.HelloRequest) -> common.HelloReply:
    with connection.limit(_GREETED):
        reply: common.HelloReply = connection.ask("hello", hello).body
    return reply
