"""Ports of containers on loopback: each has a listener, and each visitor a connection that the container makes.

    visitor ──► listener ─ "visitor n" ─► container ── hello (tunnel, n) ──► web.sock: both ends are joined
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from windlass import exception
from windlass.kit import ids

_PATIENCE = 10.0  # seconds for the container to take a visitor
_MOST = 1000  # visitors of one tunnel that nobody has taken yet


class End(asyncio.Protocol):
    """One end of a joined pair. It reads no faster than the other end writes."""

    def __init__(self, made: Callable[[End], None] = lambda end: None) -> None:
        self._made = made
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
        other = self._other
        if other is not None and other._transport is not None and other._transport.can_write_eof():
            other._transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Tunnel:
    """``visit`` is called with the number of each visitor."""

    def __init__(self, container_id: str, visit: Callable[[int], None]) -> None:
        self.id = ids.new("tu")
        self.container_id = container_id
        self.port = 0
        self._visit = visit
        self._numbers = itertools.count(1)
        self._waiting: dict[int, End] = {}
        self._listener: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: End(self._came), "127.0.0.1", 0, backlog=128)
        self.port = self._listener.sockets[0].getsockname()[1]

    def _came(self, end: End) -> None:
        if len(self._waiting) >= _MOST:
            end.close()
            return
        number = next(self._numbers)
        self._waiting[number] = end
        asyncio.get_running_loop().call_later(_PATIENCE, self._give_up, number)
        self._visit(number)

    def _give_up(self, number: int) -> None:
        if (end := self._waiting.pop(number, None)) is not None:
            end.close()

    def take(self, number: int) -> End | None:
        return self._waiting.pop(number, None)

    def close(self) -> None:
        """No visitor more; those that are there may stay as long as the container."""
        if self._listener is not None:
            self._listener.close()
        for number in list(self._waiting):
            self._give_up(number)


class Tunnels:
    """All that are open."""

    def __init__(self) -> None:
        self._open: dict[str, Tunnel] = {}

    async def open(self, container_id: str, visit: Callable[[int], None]) -> Tunnel:
        made = Tunnel(container_id, visit)
        try:
            await made.open()
        except OSError as exc:
            raise exception.ResourceExhaustedError(f"no port can be opened: {exc}") from None
        self._open[made.id] = made
        return made

    def close(self, tunnel: Tunnel) -> None:
        self._open.pop(tunnel.id, None)
        tunnel.close()

    def join(
        self, container_id: str, tunnel_id: str, number: int, transport: asyncio.Transport, early: bytes
    ) -> bool:
        """Join a container's connection with the visitor that it is for."""
        tunnel = self._open.get(tunnel_id)
        if tunnel is None or tunnel.container_id != container_id:
            return False
        visitor = tunnel.take(number)
        if visitor is None:
            return False
        end = End()
        end.adopt(transport, early)
        transport.set_protocol(end)
        end.join(visitor)
        return True
