"""Two connections as one: what comes by one end goes out by the other, no faster than that is read.

Python's own pair of streams would copy each piece twice and wake two tasks for it.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable


def _nothing(*_: object) -> None:
    return None


class End(asyncio.Protocol):
    """One end of a joined pair. Until it is joined it reads nothing.

    Args:
        made: called with it once it is connected.
        lost: called with it once, when it is connected no more.
    """

    def __init__(self, made: Callable[[End], None] = _nothing, lost: Callable[[End], None] = _nothing) -> None:
        self._made = made
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._other: End | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.pause()
        self._made(self)

    def join(self, other: End) -> None:
        self._other, other._other = other, self
        for one in (self, other):
            one.resume()
        for one, its in ((self, other), (other, self)):
            if one._transport is None:  # it was lost before anybody came
                its.close()

    def adopt(self, transport: asyncio.Transport, early: bytes) -> None:
        """Go on with a connection that said hello to somebody else."""
        self._transport, self._early = transport, early

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and self._transport.is_reading():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._early and self._other is not None:
            early, self._early = self._early, b""
            self._other.write(early)
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early += data
        else:
            self._other.write(data)

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.pause()

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.resume()

    def eof_received(self) -> bool:
        """Hand on that one direction is over. TLS has no such thing: there it is the end of both."""
        if self._other is not None:
            self._other.finish()
        return self._transport is not None and self._transport.can_write_eof()

    def finish(self) -> None:
        """Nothing more will be written to it."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._other is not None:
            self._other.close()
        self._lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """At once: what is still to be written is dropped."""
        if self._transport is not None:
            self._transport.abort()
