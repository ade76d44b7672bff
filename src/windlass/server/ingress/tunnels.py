"""Ports of containers: each has a listener here, and each visitor a connection that is made from inside.

    visitor ──► listener ─ "visitor, ticket" ─► inside ── hello (ticket) ──► web.sock: both ends are joined

They listen where web functions do: on loopback, or where users on other machines come to. TLS ends here. A port that
speaks TLS takes plain bytes as well: the first byte of a visitor says which it is, and is left for whoever reads next.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

from windlass import exception
from windlass.kit import descriptors, ids, joined, tasks
from windlass.server.decide import ports
from windlass.server.ingress import visits
from windlass.wire import reach

_PATIENCE = 10.0  # seconds for the inside to take a visitor, and for TLS to be agreed on
_SILENCE = 0.2  # seconds in which a visitor of a port for anything must begin to speak TLS
_MOST = 1000  # visitors of one tunnel that nobody has taken yet
_EACH = 128  # ports of one container: what listens is the server, and all share what it may open
_BACKLOG = 128
_PAUSE = 0.2  # seconds, when there are no descriptors left
_HELLO = b"\x16"  # begins TLS
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_log = logging.getLogger(__name__)

Visit = Callable[[int, str], None]
"""Told of each visitor: its number, and the ticket that the connection for it must show."""
Context = Callable[[str], ssl.SSLContext]
"""How a tunnel of some kind speaks TLS."""


class Tunnel:
    """One port. ``kind``: see ``decide.ports``; ``allowed``: networks that visitors may come from, None for all."""

    def __init__(
        self, container_id: str, visit: Visit, *, kind: str, allowed: Sequence[str] | None,
        busy: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.id = ids.new("tu")
        self.container_id = container_id
        self.kind = kind
        self.port = 0
        self._visit = visit
        self._busy = busy
        self._allowed = allowed
        self._last = 0
        self._waiting: dict[int, tuple[joined.End, str]] = {}
        self._ends: set[joined.End] = set()
        self._socket: socket.socket | None = None
        self._owner: tasks.Tasks
        self._visits: visits.Visits
        self._context: Context

    def open(self, owner: tasks.Tasks, table: visits.Visits, context: Context, host: str, port: int = 0) -> None:
        """Raises ``OSError``."""
        self._owner, self._visits, self._context = owner, table, context
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        self._socket, self.port = listener, listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            if self._socket is None:
                return
            try:
                made, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as exc:
                if exc.errno in _FULL:
                    self._rest(self._socket)
                _log.warning("a visitor of a tunnel could not be taken: %s", exc)
                return
            made.setblocking(False)
            if len(self._waiting) < _MOST and (self._allowed is None or reach.holds(self._allowed, address[0])):
                self._owner.start(self._arrived(made), "visitor of a tunnel")
            else:
                made.close()

    def _rest(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(_PAUSE, lambda: loop.add_reader(listener, self._accept) if self._socket is listener else None)

    async def _arrived(self, made: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            context = self._context(self.kind) if await self._speaks_tls(made) else None
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: joined.End(self._came, self._gone), made, ssl=context,
                ssl_handshake_timeout=None if context is None else _PATIENCE,
            )  # fmt: skip
        except (OSError, ssl.SSLError, asyncio.TimeoutError, exception.Error) as exc:
            _log.debug("a visitor of a tunnel has gone: %s", exc)
            made.close()

    async def _speaks_tls(self, made: socket.socket) -> bool:
        if self.kind == ports.TCP:
            return False
        with contextlib.suppress(asyncio.TimeoutError):
            patience = _SILENCE if self.kind == ports.ANY else _PATIENCE
            await asyncio.wait_for(descriptors.ready(made.fileno()), patience)
            return made.recv(1, socket.MSG_PEEK) == _HELLO
        return False

    def _came(self, end: joined.End) -> None:
        self._ends.add(end)
        self._busy(1)
        if self._socket is None:
            end.close()
            return
        self._last = number = self._last + 1
        ticket = self._visits.promise(lambda transport, early: self._take(number, transport, early))
        self._waiting[number] = (end, ticket)
        asyncio.get_running_loop().call_later(_PATIENCE, self.refuse, number)
        self._visit(number, ticket)

    def _gone(self, end: joined.End) -> None:
        if end in self._ends:  # else TLS was never agreed on
            self._ends.discard(end)
            self._busy(-1)

    def refuse(self, number: int) -> None:
        """Nobody comes for this visitor."""
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._visits.forget(waiting[1])
            waiting[0].close()

    def _take(self, number: int, transport: asyncio.Transport, early: bytes) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            transport.close()
            return
        end = joined.End()
        end.adopt(transport, early)
        transport.set_protocol(end)
        end.join(waiting[0])

    def close(self, *, all_of_them: bool = False) -> None:
        """No visitor more; those that are there may stay as long as the container, but with ``all_of_them``."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for number in list(self._waiting):
            self.refuse(number)
        for end in list(self._ends) if all_of_them else ():
            end.close()


class Tunnels:
    """All that are open, at ``host``."""

    def __init__(self, owner: tasks.Tasks, table: visits.Visits, context: Context, host: str = "127.0.0.1") -> None:
        self._owner = owner
        self._visits = table
        self._context = context
        self._host = host
        self._open: set[Tunnel] = set()

    def open(
        self, container_id: str, visit: Visit, kind: str, *, allowed: Sequence[str] | None = None,
        busy: Callable[[int], None] = lambda change: None, wanted: int = 0,
    ) -> Tunnel:  # fmt: skip
        """At the port ``wanted`` if it is free, else at any. Raises ``ResourceExhaustedError``."""
        if sum(one.container_id == container_id for one in self._open) >= _EACH:
            raise exception.ResourceExhaustedError(f"a container may have {_EACH} ports open")
        tunnel = Tunnel(container_id, visit, kind=kind, allowed=allowed, busy=busy)
        try:
            self._at(tunnel, wanted)
        except OSError as exc:
            raise exception.ResourceExhaustedError(f"no port can be opened: {exc}") from None
        self._open.add(tunnel)
        return tunnel

    def _at(self, tunnel: Tunnel, wanted: int) -> None:
        if wanted:
            try:
                tunnel.open(self._owner, self._visits, self._context, self._host, wanted)
                return
            except OSError as exc:
                _log.warning("port %d of a tunnel is not free any more: %s", wanted, exc)
        tunnel.open(self._owner, self._visits, self._context, self._host)

    def of(self, container_id: str, identity: str) -> list[Tunnel]:
        """The one of this id, if the container has it open."""
        return [one for one in self._open if one.id == identity and one.container_id == container_id]

    def close(self, tunnel: Tunnel, *, all_of_them: bool = False) -> None:
        self._open.discard(tunnel)
        tunnel.close(all_of_them=all_of_them)

    def close_all(self) -> None:
        for tunnel in list(self._open):
            self.close(tunnel, all_of_them=True)
