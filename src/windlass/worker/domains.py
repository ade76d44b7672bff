"""Lists of domains: port 443 of containers that have one ends here, and goes on only to names that are allowed.

    container ── TLS to any address, port 443 ──► relay: reads the name, asks for its address itself ──► the server

The rules (``limits.py``) bend these connections to the relay. Where the container wanted to go does not count, only the
name that it says (SNI), whose address the worker resolves: nobody reaches another server by a wrong address. Nothing is
decrypted, so a server that answers for several names may serve one that is not allowed (domain fronting).
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import NamedTuple

from windlass.kit import tasks
from windlass.wire import reach
from windlass.worker import egress, hello, splicing

_PORT = 443
_HELLO = 10.0  # seconds that a client may take to say whom it wants
_PATIENCE = 15.0  # seconds that resolving, and then connecting, may take
_MOST = 1024  # connections of one container at once: the worker's descriptors are for all
_CHUNK = 16384
_PIECES = 256  # in which a client may say it: each is looked at, and the worker has others to look after
_ACCESS_DENIED, _INTERNAL_ERROR = 49, 80
_ALERT = bytes([21, 3, 3, 0, 2, 2])  # a fatal one; its number follows
_log = logging.getLogger(__name__)


class Guest(NamedTuple):
    """A container with a list of domains."""

    container_id: str
    domains: Sequence[str]
    source: str
    """The uplink's address to leave by; "" for any."""


class _Refused(Exception):
    """With what the container's log shall say, and the number of the alert."""

    def __init__(self, why: str, alert: int = _ACCESS_DENIED) -> None:
        super().__init__(why)
        self.alert = alert


async def addresses(name: str) -> list[str]:
    """The IPv4 addresses of a name, as this machine knows them. Raises ``OSError``."""
    found = await asyncio.get_running_loop().getaddrinfo(name, _PORT, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Domains:
    """The relay. Inside the node.

    Args:
        find: whose connection it is, by the address that it comes from.
        closed: whether no container may reach an address.
        say: tells a container's log of a refusal.
        resolve: gives the addresses of a name.
    """

    def __init__(
        self, find: Callable[[str], Guest | None], *, closed: Callable[[str], bool], say: Callable[[str, str], None],
        resolve: Callable[[str], Awaitable[list[str]]] = addresses,
    ) -> None:  # fmt: skip
        self._find = find
        self._closed = closed
        self._say = say
        self._resolve = resolve
        self._server: asyncio.Server | None = None
        self._open: Counter[str] = Counter()
        self._tasks = tasks.Tasks(lambda name, exc: None)  # a connection that breaks is seen at its ends

    @property
    def serves(self) -> bool:
        """Whether it could be opened. Where not, what is bent to it is refused by the kernel."""
        return self._server is not None

    async def __aenter__(self) -> Domains:
        try:
            self._server = await asyncio.start_server(self._serve, egress.GATEWAY, egress.RELAY_PORT)
        except OSError as exc:
            _log.error("lists of domains cannot be served: %s", exc)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self._tasks.close()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._one(reader, writer), "connection to a listed domain")

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            guest = self._find(str(writer.get_extra_info("peername")[0]))
            if guest is None or self._open[guest.container_id] >= _MOST:
                return
            self._open[guest.container_id] += 1
            try:
                await self._pass_on(guest, reader, writer)
            finally:
                self._open[guest.container_id] -= 1
                self._open += Counter()  # forgets those at zero

    async def _pass_on(self, guest: Guest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            said, name = await _greeting(reader)
            if not reach.allows(guest.domains, name):
                raise _Refused(f"{name} is not in outbound_domain_allowlist")
            far_reader, far_writer = await self._connected(name, guest.source)
        except _Refused as exc:
            self._say(guest.container_id, f"a connection to port {_PORT} was refused: {exc}")
            writer.write(_ALERT + bytes([exc.alert]))
            await writer.drain()
            return
        far_writer.write(said)
        await splicing.both_ways(reader, writer, far_reader, far_writer)

    async def _connected(self, name: str, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            found = await asyncio.wait_for(self._resolve(name), _PATIENCE)
        except (OSError, asyncio.TimeoutError) as exc:
            raise _Refused(f"{name} cannot be resolved: {exc or 'it took too long'}", _INTERNAL_ERROR) from None
        open_ones = [address for address in found if not self._closed(address)]
        if not open_ones:
            raise _Refused(f"{name} is at {', '.join(found) or 'no address'}, which containers may not reach")
        own = (source, 0) if source else None
        problem: BaseException = OSError("nobody answers")
        for address in open_ones[:4]:
            try:
                return await asyncio.wait_for(asyncio.open_connection(address, _PORT, local_addr=own), _PATIENCE)
            except (OSError, asyncio.TimeoutError) as exc:
                problem = exc
        raise _Refused(f"{name} cannot be reached: {problem or 'it took too long'}", _INTERNAL_ERROR)


async def _greeting(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """What the client has said so far, and the name in it."""
    said = bytearray()

    async def listen() -> str:
        for _ in range(_PIECES):
            data = await reader.read(_CHUNK)
            if not data:
                raise _Refused("it ended before it named a server")
            said.extend(data)
            if (name := hello.name(bytes(said))) is not None:
                return name
        raise _Refused("it named a server in too many pieces")

    try:
        name = await asyncio.wait_for(listen(), _HELLO)
    except hello.NotTls as exc:
        raise _Refused(f"{exc}; a domain is allowed for TLS only") from None
    except asyncio.TimeoutError:
        raise _Refused(f"it named no server within {_HELLO:g} s") from None
    return bytes(said), name
