"""A stretch of network that hands bytes on a fixed time later, each way: for kernels without netem.

One thread, one wait with deadlines in microseconds (``select``, and a timer slack of next to nothing): event loops wait
in whole milliseconds, so each direction would be late by up to one. It has a process of its own.

Beside ways to ports it offers an *echo*, which turns round at the far end of the link itself: bytes come back after
twice the delay, and no other program has a part in it. What an echo takes is one round trip of this link.
"""
from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing import connection

_READ = 256 * 1024
_MOST = 64 * 1024 * 1024  # bytes under way in one direction; who sends more waits
_SET_TIMER_SLACK = 29


class _Way:
    """One direction of one connection. An echo has two: from ``source`` ``onward``, and from there to ``sink``."""

    def __init__(
        self, source: socket.socket | None, sink: socket.socket | None, onward: _Way | None = None
    ) -> None:
        self.source = source
        self.sink = sink
        self.onward = onward
        self.under_way: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.ended = self.over = self.blocked = False

    def read(self, source: socket.socket, due: float) -> None:
        try:
            data = source.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.ended = not data
        self.put(due, data)

    def put(self, due: float, data: bytes) -> None:
        self.under_way.append((due, data))
        self.size += len(data)

    def pass_on(self, now: float, delay: float) -> None:
        """What is due."""
        while self.under_way and self.under_way[0][0] <= now and not self.blocked:
            _, data = self.under_way.popleft()
            self.size -= len(data)
            self.over = not data
            if self.onward is not None:
                self.onward.put(now + delay, data)
            elif self.sink is not None and (rest := self._send(self.sink, data)):
                self.under_way.appendleft((0.0, rest))
                self.size += len(rest)
                self.blocked = True

    def _send(self, sink: socket.socket, data: bytes) -> bytes:
        """What did not fit."""
        try:
            if data:
                return data[sink.send(data) :]
            sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return data
        except OSError:
            pass
        return b""


class _Link:
    def __init__(self, port: int, delay: float) -> None:
        self._port = port
        self._delay = delay
        self._ways: list[_Way] = []
        self.doors = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]

    def serve(self) -> None:
        while True:
            self._wait()
            now = time.monotonic()
            for way in self._ways:
                way.pass_on(now, self._delay)

    def _wait(self) -> None:
        """Until something has come, or is due. What has come is stamped as early as possible."""
        dues = [way.under_way[0][0] for way in self._ways if way.under_way and not way.blocked]
        sources = {way.source: way for way in self._ways if way.source and not way.ended and way.size < _MOST}
        sinks = {way.sink: way for way in self._ways if way.blocked}
        timeout = max(0.0, min(dues) - time.monotonic()) if dues else None
        readable, writable, _ = select.select([*sources, *self.doors], list(sinks), [], timeout)
        due = time.monotonic() + self._delay
        for one in readable:
            if one in self.doors:
                self._open(one)
            else:
                sources[one].read(one, due)
        for one in writable:
            sinks[one].blocked = False
        if any(way.over for way in self._ways):
            self._ways = [way for way in self._ways if not way.over]

    def _open(self, door: socket.socket) -> None:
        near = _quick(door.accept()[0])
        if door is self.doors[1]:
            back = _Way(None, near)
            self._ways += [_Way(near, None, back), back]
        else:
            far = _quick(socket.create_connection(("127.0.0.1", self._port)))
            self._ways += [_Way(near, far), _Way(far, near)]


def _quick(end: socket.socket) -> socket.socket:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end.setblocking(False)
    return end


def _serve(port: int, delay: float, ready: connection.Connection) -> None:
    ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1)
    link = _Link(port, delay)
    ready.send(tuple(door.getsockname()[1] for door in link.doors))
    link.serve()


@contextlib.contextmanager
def between(port: int, delay: float) -> Iterator[tuple[int, int]]:
    """Ports of the way to ``port`` and of the echo, ``delay`` seconds away."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, delay, there))
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()
