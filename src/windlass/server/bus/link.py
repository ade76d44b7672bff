"""A connection that tells, without a task, whether its other end keeps up."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from windlass.server.bus import programs
from windlass.wire import peer

_HIGH = 2 * 1024 * 1024
_PIECE = 256 * 1024
_CREDENTIALS = struct.Struct("3i")


class Link(peer.Peer):
    """A ``Peer`` for senders that push from callbacks: ask ``writable``; if not, leave a callback in ``waiting``."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.writable = True
        self.waiting: list[Callable[[], None]] = []
        self._end = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.set_write_buffer_limits(high=_HIGH)  # type: ignore[attr-defined]
        super().connection_made(transport)

    @property
    def process(self) -> int:
        """Whoever made this connection, on this machine; 0 where that cannot be seen from here."""
        if self._transport is None:
            return 0
        end: socket.socket | None = self._transport.get_extra_info("socket")
        if end is None or end.family != socket.AF_UNIX:
            return 0
        data = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(data)[0])

    @functools.cached_property
    def owner(self) -> programs.Process | None:
        """The same, told from later ones of that number; None where it cannot be seen from here."""
        return programs.of(self.process)

    def keep_end(self) -> None:
        """From now on what the other end has written is read even if it dies: a write to it that fails first would
        close the socket with all that is in it."""
        if self._end < 0 and self._transport is not None:
            self._end = os.dup(self._transport.get_extra_info("socket").fileno())

    def _read_out(self) -> None:
        with socket.socket(fileno=self._end) as end:
            self._end = -1
            with contextlib.suppress(OSError):  # nothing more, or a connection that was cut
                while data := end.recv(_PIECE, socket.MSG_DONTWAIT):
                    self.data_received(data)

    @property
    def source(self) -> str:
        """Where its other end is, for the audit log."""
        if self._transport is None:
            return ""
        name = self._transport.get_extra_info("peername")
        if isinstance(name, tuple):
            return str(name[0])
        if isinstance(name, str) and name:
            return name
        end: socket.socket = self._transport.get_extra_info("socket")
        if end is None or end.family != socket.AF_UNIX:
            return ""
        pid, uid, _ = _CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return f"this machine, user {uid}, process {pid}"

    def pause_writing(self) -> None:
        self.writable = False
        super().pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.writable = True
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()

    def connection_lost(self, exc: Exception | None) -> None:
        self.waiting.clear()
        self.writable = False
        if self._end >= 0:
            self._read_out()
        super().connection_lost(exc)
