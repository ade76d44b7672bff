"""A connection that tells, without a task, whether its other end keeps up."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from windlass.wire import peer

_HIGH = 2 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")


_gathered: list[Link] | None = None


class _AtOnce:
    def __enter__(self) -> None:
        global _gathered
        if _gathered is None:
            _gathered = []

    def __exit__(self, *_: object) -> None:
        global _gathered
        gathered, _gathered = _gathered, None
        for one in gathered or ():
            one.flush()


at_once = _AtOnce()
"""What is sent in this block leaves at its end, in the order of the connections' first frames: without waiting for
another turn of the loop. No block within a block, no ``await`` in it."""


class Link(peer.Peer):
    """A ``Peer`` for senders that push from callbacks: ask ``writable``; if not, leave a callback in ``waiting``."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.writable = True
        self.waiting: list[Callable[[], None]] = []

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
        super().connection_lost(exc)

    def _flush_later(self) -> None:
        if _gathered is None:
            super()._flush_later()
        else:
            _gathered.append(self)
