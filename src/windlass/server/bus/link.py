"""A connection that tells, without a task, whether its other end keeps up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from windlass.wire import peer

_HIGH = 2 * 1024 * 1024


class Link(peer.Peer):
    """A ``Peer`` for senders that push from callbacks: ask ``writable``; if not, leave a callback in ``waiting``."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.writable = True
        self.waiting: list[Callable[[], None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.set_write_buffer_limits(high=_HIGH)  # type: ignore[attr-defined]
        super().connection_made(transport)

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

    def flush(self) -> None:
        """Hand what was sent to the transport now, so that ``writable`` knows of it."""
        self._flush()
