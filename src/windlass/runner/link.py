"""The runner's connection: blocking, one reader at a time, made again for ever when lost.

The main thread reads while it has nothing to run, so that an input reaches user code without a change of threads. While
user code runs long, the attendant reads. Whoever took the turn to read is the reader; only the reader connects,
receives and closes. Writing is open to both.

Requests answer through callbacks, called by the reader. Callbacks of a lost connection are never called: what must not
be lost is sent again by its owner when ``connected`` is called.
"""
from __future__ import annotations

import _socket
import _thread
import itertools
import os
import select
import time

import windlass
from windlass import exception, wire
from windlass.wire import codec, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from windlass.wire.messages import containers

    Answer = Callable[[dict[str, Any], list[bytes]], None]

    class Waits(Protocol):
        """The connection as those see it who ask and wait."""

        @property
        def up(self) -> bool: ...
        @property
        def generation(self) -> int: ...
        def request(
            self, method: str, body: Any, attachments: Sequence[codec.Bytes] = (), *, kind: str = codec.REQUEST,
            answer: Answer | None = None,
        ) -> None: ...  # fmt: skip
        def wait(self, done: Callable[[], object], deadline: float = float("inf")) -> bool: ...

_READ = 120 * 1024  # malloc has so much in its heap: larger ones the system maps and unmaps, for each read
_PATIENCE = 10.0  # seconds for the server to answer hello
_DELAY_LEAST, _DELAY_MOST = 0.02, 1.0  # seconds between attempts to connect
_REFUSALS = (
    exception.AuthError, exception.PermissionDeniedError, exception.NotFoundError, exception.VersionError,
    exception.InvalidError,
)  # fmt: skip


class Wake:
    """Lets another thread, or a signal, end a wait."""

    def __init__(self) -> None:
        self.fd, self.write_fd = os.pipe()
        for fd in (self.fd, self.write_fd):
            os.set_blocking(fd, False)

    def set(self) -> None:
        try:
            os.write(self.write_fd, b"\0")
        except BlockingIOError:
            pass  # it is awake already

    def clear(self) -> None:
        try:
            while len(os.read(self.fd, 512)) == 512:
                pass
        except BlockingIOError:
            pass


class Link:
    """The connection. The reader calls ``connected`` after each hello and ``notice`` for each notice of the server."""

    def __init__(self, plan: containers.RunnerPlan) -> None:
        self._plan = plan
        self._sock: _socket.socket | None = None
        self._writing = _thread.allocate_lock()
        self._reading = _thread.allocate_lock()
        self._decoder = codec.Decoder()
        self._ids = itertools.count(1)
        self._answers: dict[int, Answer] = {}
        self._polls: dict[int, select.poll] = {}
        """What the readers wait with on this connection, by the descriptor of their wake."""
        self._try_at = 0.0
        self._delay = _DELAY_LEAST
        self.connected: Callable[[], None] = lambda: None
        self.notice: Callable[[str, Any, list[bytes]], None] = lambda method, body, attachments: None
        self.main_wake = Wake()
        self.attendant_wake = Wake()
        self.wanted_back = False
        """The main thread waits to become the reader."""
        self.generation: int = 0
        """Which connection it is: answers to requests of an earlier one never come."""

    @property
    def up(self) -> bool:
        return self._sock is not None

    @property
    def descriptor(self) -> int:
        return self._sock.fileno() if self._sock is not None else -1

    # -- who reads ------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Become the reader (main thread)."""
        if not self._reading.acquire(False):
            self.wanted_back = True
            self.attendant_wake.set()
            self._reading.acquire()
            self.wanted_back = False

    def try_take(self) -> bool:
        """Become the reader unless the main thread is (attendant)."""
        return not self.wanted_back and self._reading.acquire(False)

    def leave(self) -> None:
        self._reading.release()

    # -- sending (any thread) ---------------------------------------------------------------------------------

    def request(
        self, method: str, body: Any, attachments: Sequence[codec.Bytes] = (), *, kind: str = codec.REQUEST,
        answer: Answer | None = None,
    ) -> None:  # fmt: skip
        """Ask. ``answer`` is called with each frame that answers, items of a stream, too."""
        exchange = next(self._ids)
        if answer is not None:
            self._answers[exchange] = answer
        self._send({"k": kind, "i": exchange, "m": method, "b": body}, attachments)

    def _send(self, header: dict[str, Any], attachments: Sequence[codec.Bytes] = ()) -> None:
        pieces = codec.pack(header, attachments)
        with self._writing:
            sock = self._sock
            if sock is None:
                return
            try:
                for piece in pieces:
                    sock.sendall(piece)
            except OSError:
                _hang_up(sock)  # the reader will notice and close

    def lose(self) -> None:
        """Give this connection up; the reader makes a new one."""
        with self._writing:
            if self._sock is not None:
                _hang_up(self._sock)

    # -- waiting and receiving (the reader) --------------------------------------------------------------------

    def wait(self, done: Callable[[], object], deadline: float = float("inf")) -> bool:
        """Main thread: serve the connection until ``done``; False when the deadline (monotonic) came first."""
        self.take()
        try:
            while not done():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self.step(min(left, 60.0), self.main_wake)
        finally:
            self.leave()
        return True

    def step(self, timeout: float, wake: Wake) -> None:
        """Wait for one thing to happen and deal with it: frames, a wake, a lost connection, time to connect again."""
        sock = self._sock
        poll = self._polls.get(wake.fd) or self._poll(wake)
        if sock is None:
            pause = self._try_at - time.monotonic()
            if pause <= 0:
                self._connect()
                return
            timeout = min(timeout, pause)
        for fd, _ in poll.poll(max(0.0, timeout) * 1000):
            if fd == wake.fd:
                wake.clear()
            elif sock is not None:
                self._receive(sock)

    def _poll(self, wake: Wake) -> select.poll:
        poll = select.poll()
        poll.register(wake.fd, select.POLLIN)
        if self._sock is not None:
            poll.register(self._sock.fileno(), select.POLLIN)
            self._polls[wake.fd] = poll
        return poll

    def _receive(self, sock: _socket.socket) -> None:
        try:
            data = sock.recv(_READ)
            frames = self._decoder.feed(data) if data else None
        except (OSError, exception.InvalidError):
            frames = None
        if frames is None:
            self.close()
            return
        self._dispatch(frames)

    def _dispatch(self, frames: list[codec.Frame]) -> None:
        for frame in frames:
            header = frame.header
            if header["k"] == codec.NOTICE:
                self.notice(header["m"], header["b"], frame.attachments)
                continue
            exchange = header.get("i", 0)
            answer = self._answers.get(exchange)
            if answer is not None:
                if header["k"] != codec.ITEM:
                    del self._answers[exchange]
                answer(header, frame.attachments)

    def healthy(self) -> None:
        """This connection is good: after its loss the first attempt is made at once."""
        self._delay = _DELAY_LEAST
        self._try_at = 0.0

    def close(self) -> None:
        with self._writing:
            sock, self._sock = self._sock, None
        self._polls.clear()
        if sock is not None:
            sock.close()
        self.generation += 1
        self._answers.clear()

    def _connect(self) -> None:
        """One attempt. Raises when the server refuses this container for good."""
        try:
            early = self._greet()
        except _REFUSALS:
            raise
        except (OSError, exception.Error):
            self._try_at = time.monotonic() + self._delay
            self._delay = min(self._delay * 2, _DELAY_MOST)
            return
        # If this connection is lost at once, the next attempt is not made in the same instant.
        self._try_at = time.monotonic() + self._delay
        self._delay = min(self._delay * 2, _DELAY_MOST)
        self.connected()
        self._dispatch(early)

    def _greet(self) -> list[codec.Frame]:
        """Connect and say hello. Returns what came together with the answer."""
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(_PATIENCE)
            sock.connect(self._plan["socket"])
            identity = self._plan["container_id"]
            hello = {
                "role": "runner", "protocol": wire.PROTOCOL, "version": windlass.__version__, "client_id": identity,
                "container_id": identity, "token": self._plan["token"],
            }  # fmt: skip
            sock.sendall(codec.pack({"k": codec.REQUEST, "i": 0, "m": "hello", "b": hello})[0])
            decoder = codec.Decoder()
            while not (frames := decoder.feed(_some(sock))):
                pass
            if frames[0].header["k"] == codec.ERROR:
                raise status.from_wire(frames[0].header.get("e", {}))
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        self._decoder = decoder
        with self._writing:
            self._sock = sock
        return frames[1:]


def _some(sock: _socket.socket) -> bytes:
    data = sock.recv(_READ)
    if not data:
        raise ConnectionResetError("the server closed the connection")
    return data


def _hang_up(sock: _socket.socket) -> None:
    try:
        sock.shutdown(_socket.SHUT_RDWR)
    except OSError:
        pass
