"""One line for all that crosses the wall of a virtual machine: messages, and the streams of each command.

    kind, stream, channel, size │ body          a channel is a command, or a connection with a port

Each stream has credit: what is on its way and not taken yet. So a command that nobody reads stops alone, as it would at
a full pipe, and neither end keeps more than that. Both ends are one thread around a selector (``Line.turn``).
"""
from __future__ import annotations

import contextlib
import json
import os
import selectors
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_HEADER = struct.Struct("<BBxxII")
_SAY, _DATA, _END, _TAKEN, _DROP = range(1, 6)
_WINDOW = 256 * 1024
_PIECE = 32 * 1024
_MUCH = 512 * 1024  # bytes that wait for the line; then sources are not read
_MOST = 4 * 1024 * 1024  # that wait: who asks without end for answers, and takes none, is ended
_LARGEST = 1024 * 1024
IN, OUT, ERR = 0, 1, 2


class Broken(Exception):
    """The line has ended, or what came is none of this."""


class _Source:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.credit = _WINDOW
        self.waits = self.draining = False
        self.ended: Callable[[], None] = lambda: None
        """Called when it is empty, if it is draining."""


class _Sink:
    def __init__(self, descriptor: int, close: Callable[[int], None]) -> None:
        self.descriptor = descriptor
        self.data = bytearray()
        self.over = self.waits = False
        self.close = close


class Line:
    """``said`` is called with the channel and what the other end said about it."""

    def __init__(self, descriptor: int, said: Callable[[int, dict[str, Any]], None]) -> None:
        self.selector = selectors.DefaultSelector()
        self._descriptor = descriptor
        self._said = said
        self._out, self._in = bytearray(), bytearray()
        self._sources: dict[tuple[int, int], _Source] = {}
        self._sinks: dict[tuple[int, int], _Sink] = {}
        self._paused: list[tuple[int, int]] = []
        os.set_blocking(descriptor, False)
        self.selector.register(descriptor, selectors.EVENT_READ, self._ready)
        self._writes = False

    def turn(self, seconds: float | None = None) -> None:
        """Do what can be done now; wait at most ``seconds`` for it. Raises ``Broken``."""
        for key, mask in self.selector.select(seconds):
            if self.selector.get_map().get(key.fd) is key:
                key.data(mask)

    def say(self, channel: int, **message: Any) -> None:
        self._send(_SAY, 0, channel, json.dumps(message).encode())

    # -- streams ---------------------------------------------------------------------------------------------

    def source(self, channel: int, stream: int, descriptor: int) -> None:
        """Send what can be read from ``descriptor``, which is ours from now on, until it ends."""
        os.set_blocking(descriptor, False)
        self._sources[channel, stream] = _Source(descriptor)
        self._listen(channel, stream)

    def sink(
        self, channel: int, stream: int, descriptor: int, close: Callable[[int], None] = os.close
    ) -> None:
        """Write what comes to ``descriptor``, which is ours from now on; ``close`` it after the last of it."""
        os.set_blocking(descriptor, False)
        self._sinks[channel, stream] = _Sink(descriptor, close)

    def drained(self, channel: int, streams: tuple[int, ...], then: Callable[[], None]) -> None:
        """Call ``then`` when all that can be read from these sources now has been sent; others may hold them open."""
        left = [one for stream in streams if (one := self._sources.get((channel, stream)))]
        waiting = len(left)

        def one_is() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                then()

        for one in left:
            one.ended, one.draining = one_is, True
        for stream in streams:
            if (channel, stream) in self._sources:
                self._take(channel, stream)
        if not left:
            then()

    def stop(self, channel: int, stream: int) -> None:
        """Read a source no more; the other end takes it as its end."""
        if (channel, stream) in self._sources:
            self._send(_END, stream, channel)
            self._close_source((channel, stream))

    def pending(self, channel: int) -> bool:
        """Whether something that came is not written yet."""
        return any(one.data for key, one in self._sinks.items() if key[0] == channel)

    def forget(self, channel: int) -> None:
        """Close all that is left of a channel, without a word."""
        for key in [key for key in self._sources if key[0] == channel]:
            self._close_source(key)
        for key in [key for key in self._sinks if key[0] == channel]:
            self._close_sink(key)

    def _listen(self, channel: int, stream: int) -> None:
        one = self._sources[channel, stream]
        if one.waits:
            return
        try:
            self.selector.register(one.descriptor, selectors.EVENT_READ, lambda _: self._take(channel, stream))
            one.waits = True
        except PermissionError:  # a file, which is always ready
            while (channel, stream) in self._sources and one.credit:
                self._take(channel, stream)

    def _go_on(self, channel: int, stream: int) -> None:
        self._listen(channel, stream)
        if (one := self._sources.get((channel, stream))) is not None and one.draining:
            self._take(channel, stream)  # it may be empty, of which nobody would tell

    def _ignore(self, one: _Source) -> None:
        if one.waits:
            self.selector.unregister(one.descriptor)
            one.waits = False

    def _take(self, channel: int, stream: int) -> None:
        """Read a source once."""
        one = self._sources.get((channel, stream))
        if one is None:
            return None
        if not one.credit:
            return self._ignore(one)
        if len(self._out) > _MUCH:
            self._paused.append((channel, stream))
            return self._ignore(one)
        try:
            data = os.read(one.descriptor, min(_PIECE, one.credit))
        except BlockingIOError:
            return self._emptied(one)
        except OSError:  # a terminal that nobody uses any more
            data = b""
        if data:
            one.credit -= len(data)
            self._send(_DATA, stream, channel, data)
            if not one.waits and one.credit:
                self._listen(channel, stream)
            return self._take(channel, stream) if one.draining else None
        self._send(_END, stream, channel)
        self._close_source((channel, stream))
        return None

    def _close_source(self, key: tuple[int, int]) -> None:
        one = self._sources.pop(key)
        self._ignore(one)
        os.close(one.descriptor)
        self._emptied(one)

    def _emptied(self, one: _Source) -> None:
        ended, one.ended, one.draining = one.ended, lambda: None, False
        ended()

    def _put(self, key: tuple[int, int]) -> None:
        """Write what waits for a sink."""
        one = self._sinks[key]
        taken = 0
        try:
            while one.data:
                count = os.write(one.descriptor, one.data[:_WINDOW])
                del one.data[:count]
                taken += count
        except BlockingIOError:
            pass
        except OSError:  # nobody reads
            self._send(_DROP, key[1], key[0])
            return self._close_sink(key)
        if taken:
            self._send(_TAKEN, key[1], key[0], struct.pack("<I", taken))
        if not one.data and one.over:
            return self._close_sink(key)
        if bool(one.data) != one.waits:
            if one.waits:
                self.selector.unregister(one.descriptor)
            else:
                self.selector.register(one.descriptor, selectors.EVENT_WRITE, lambda _: self._put(key))
            one.waits = bool(one.data)
        return None

    def _close_sink(self, key: tuple[int, int]) -> None:
        one = self._sinks.pop(key)
        if one.waits:
            self.selector.unregister(one.descriptor)
        with contextlib.suppress(OSError):
            one.close(one.descriptor)

    # -- the line --------------------------------------------------------------------------------------------

    def _send(self, kind: int, stream: int, channel: int, body: bytes = b"") -> None:
        self._out += _HEADER.pack(kind, stream, channel, len(body)) + body
        self._flush()

    def flush(self, seconds: float) -> None:
        """Have all of it leave, before an end."""
        while self._out:
            with selectors.DefaultSelector() as alone:
                alone.register(self._descriptor, selectors.EVENT_WRITE)
                if not alone.select(seconds):
                    return
            self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                count = os.write(self._descriptor, self._out[:_WINDOW])
                del self._out[:count]
        except BlockingIOError:
            pass
        except OSError as exc:
            raise Broken(str(exc)) from None
        if bool(self._out) != self._writes:
            self._writes = bool(self._out)
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._writes else 0)
            self.selector.modify(self._descriptor, wanted, self._ready)
        if len(self._out) <= _MUCH and self._paused:
            again, self._paused = self._paused, []
            for channel, stream in again:
                if (channel, stream) in self._sources:
                    self._go_on(channel, stream)

    def _ready(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ:
            try:
                data = os.read(self._descriptor, _WINDOW)
            except BlockingIOError:
                return
            except OSError as exc:
                raise Broken(str(exc)) from None
            if not data:
                raise Broken("it has ended")
            self._in += data
            self._parse()

    def _parse(self) -> None:
        while len(self._in) >= _HEADER.size:
            kind, stream, channel, size = _HEADER.unpack_from(self._in)
            if size > _LARGEST:
                raise Broken("what came is no frame")
            if len(self._in) < _HEADER.size + size:
                break
            body = bytes(self._in[_HEADER.size : _HEADER.size + size])
            del self._in[: _HEADER.size + size]  # before it is told: who hears it may turn the line
            self._came(kind, channel, stream, body)
            if len(self._out) > _MOST:
                raise Broken("answers are not taken")

    def _came(self, kind: int, channel: int, stream: int, body: bytes) -> None:
        key = (channel, stream)
        if kind == _SAY:
            try:
                message = json.loads(body)
            except (ValueError, RecursionError):
                raise Broken("what came is no message") from None
            if not isinstance(message, dict):
                raise Broken("what came is no message")
            self._said(channel, message)
        elif kind in (_DATA, _END):
            one = self._sinks.get(key)
            if one is None:
                if kind == _DATA:
                    self._send(_DROP, stream, channel)
                return
            one.data += body
            one.over = kind == _END
            if len(one.data) > 2 * _WINDOW:
                raise Broken("more came than there was credit for")
            self._put(key)
        elif kind == _TAKEN and (source := self._sources.get(key)) is not None and len(body) == 4:
            source.credit = min(_WINDOW, source.credit + struct.unpack("<I", body)[0])
            self._go_on(channel, stream)
        elif kind == _DROP and key in self._sources:
            self._close_source(key)
