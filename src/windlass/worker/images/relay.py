"""Ports of this machine's loopback, for build steps: a proxy or an index that listens on 127.0.0.1 only.

Steps run in the node's network, whose loopback is another one. While a build needs such a port, the worker listens at
the same address there and passes connections on through a socket made in the machine's network (``worker.outside``), so
the settings mean the same inside. Containers of functions have networks of their own: they never reach it.
"""
from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from windlass.kit import tasks
from windlass.worker import netns, splicing

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
_ADDRESS = re.compile(r"[A-Za-z0-9+.-]+://[^\s\"';,]+")
_BARE = re.compile(r"[\w.-]+:\d+\Z")  # how some write a proxy
_PATIENCE = 30.0  # seconds that a service of this machine may take to accept


class Place(NamedTuple):
    """An address of the loopback. ``host``: as numbers."""

    host: str
    port: int


def places(values: Iterable[str]) -> set[Place]:
    """The places on loopback that addresses in ``values`` name.

    Example:
        >>> places(["http://localhost:3128", "https://pypi.org/simple http://127.0.0.1/simple"])
        {Place('127.0.0.1', 3128), Place('127.0.0.1', 80)}
    """
    found = set()
    for value in values:
        for text in _ADDRESS.findall(value) or [f"http://{value}"] * bool(_BARE.match(value)):
            with contextlib.suppress(ValueError):
                address = urlsplit(text)
                host = _loopback(address.hostname or "")
                port = address.port or _PORTS.get(address.scheme, 0)
                if host and port:
                    found.add(Place(host, port))
    return found


def _loopback(host: str) -> str:
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return host if ipaddress.ip_address(host).is_loopback else ""
    except ValueError:
        return ""


class Relays:
    """Opens and closes relays. Builds that need the same place share one.

    Args:
        make: gives a socket in the machine's network, of a family such as ``socket.AF_INET``.
        needed: False where the node has no network of its own, so that its loopback is the machine's.
    """

    def __init__(self, make: Callable[[int], socket.socket], *, needed: bool = True) -> None:
        self._make = make
        self._needed = needed
        self._open: dict[tuple[Place, Path | None], _Relay] = {}

    @contextlib.asynccontextmanager
    async def open(
        self, wanted: Iterable[Place], log: Callable[[str], None], *, inside: Path | None = None
    ) -> AsyncIterator[None]:
        """Inside the block ``wanted`` can be reached from the node, or from the network namespace ``inside``. Where one
        cannot, ``log`` is told: it may not be needed."""
        async with contextlib.AsyncExitStack() as held:
            for place in sorted(wanted) if self._needed or inside is not None else ():
                try:
                    await held.enter_async_context(self._one(place, inside))
                except OSError as exc:
                    log(f"{place.host}:{place.port} of this machine cannot be passed on to this step: {exc}\n")
            yield

    @contextlib.asynccontextmanager
    async def _one(self, place: Place, inside: Path | None) -> AsyncIterator[None]:
        relay = self._open.get((place, inside))
        if relay is None:
            relay = self._open[place, inside] = _Relay(place, self._make, inside)
        relay.users += 1
        try:
            await relay.opened()
            yield
        finally:
            relay.users -= 1
            if not relay.users:
                del self._open[place, inside]
                await relay.close()


class _Relay:
    """One place: a listener in the node, and what goes through it."""

    def __init__(self, place: Place, make: Callable[[int], socket.socket], inside: Path | None) -> None:
        self._place = place
        self._inside = inside
        self._make = make
        self._family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        self._server: asyncio.Server | None = None
        self._opening = asyncio.Lock()
        self._tasks = tasks.Tasks(lambda name, exc: None)  # a connection that breaks is seen at its ends
        self.users = 0

    async def opened(self) -> None:
        async with self._opening:
            if self._server is None:
                self._server = await asyncio.start_server(self._serve, sock=await asyncio.to_thread(self._listener))

    def _listener(self) -> socket.socket:
        def made() -> socket.socket:
            return socket.create_server(tuple(self._place), family=self._family)

        return made() if self._inside is None else netns.within(self._inside, made)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._tasks.close()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._relay(reader, writer), f"relay to port {self._place.port}")

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.TimeoutError):
            far_reader, far_writer = await asyncio.open_connection(sock=await self._connected())
            await splicing.both_ways(reader, writer, far_reader, far_writer)

    async def _connected(self) -> socket.socket:
        there = self._make(self._family)
        try:
            there.setblocking(False)
            connecting = asyncio.get_running_loop().sock_connect(there, tuple(self._place))
            await asyncio.wait_for(connecting, _PATIENCE)
        except BaseException:
            there.close()
            raise
        return there
