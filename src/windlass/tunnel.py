"""``forward``: a port of a function's container that others can reach, and ``Tunnel``, which says where."""
from __future__ import annotations

import contextlib
import dataclasses

from windlass import exception
from windlass.client import faces, here

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from windlass.wire import peer

_PIECE = 256 * 1024
_FIRST = 10.0  # seconds for the platform to open a port, or to close it
_forwarded: set[int] = set()


@dataclasses.dataclass(frozen=True)
class Tunnel:
    """Where a forwarded port is reached.

    Attributes:
        host: of the tunnel.
        port: of the tunnel.
        unencrypted_host: the same for plain TCP; "" where it was not asked for.
        unencrypted_port: 0 where it was not asked for.
        plain: whether ``url`` is http.
    """

    host: str
    port: int
    unencrypted_host: str = ""
    unencrypted_port: int = 0
    plain: bool = dataclasses.field(default=False, repr=False)

    @property
    def url(self) -> str:
        """For HTTP. Without TLS within the platform's machine, and where no authority vouches for its certificate, so
        that programs need not trust that first."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.plain or self.host in ("127.0.0.1", "localhost"):
            return f"http://{host}:{self.port}"
        return f"https://{host}" + ("" if self.port == 443 else f":{self.port}")

    @property
    def tls_socket(self) -> tuple[str, int]:
        """Host and port that speak TLS: with the certificate that the platform shows remote users, or, within its
        machine, one of the local authority for "localhost" and the addresses of loopback (``windlass server trust``).
        """
        return self.host, self.port

    @property
    def tcp_socket(self) -> tuple[str, int]:
        """Host and port for plain TCP.

        Raises:
            InvalidError: it was opened without ``unencrypted=True``.
        """
        if not self.unencrypted_host:
            raise exception.InvalidError(
                "this tunnel is not for plain TCP", hint="Open it with forward(port, unencrypted=True)."
            )
        return self.unencrypted_host, self.unencrypted_port


@faces.context_function
def forward(
    port: int, *, unencrypted: bool = False, h2_enabled: bool = False, client: object = None
) -> AbstractAsyncContextManager[Tunnel]:
    """Let others reach a port of this container, until the end of the ``with`` block.

    Args:
        port: where a program in the container listens.
        unencrypted: for plain TCP as well (``Tunnel.tcp_socket``).
        h2_enabled: TLS offers HTTP/2, which the program must speak; not together with ``unencrypted``.
        client: accepted for compatibility.

    Example:
        >>> @app.function()
        ... def share():
        ...     with windlass.forward(8000) as tunnel:
        ...         print(tunnel.url)
        ...         serve_at(8000)

    Raises:
        InvalidError: it is no port, it is forwarded already, or this is no container.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise exception.InvalidError(f"port must be a number from 1 to 65535, not {port!r}")
    if unencrypted and h2_enabled:
        raise exception.InvalidError("h2_enabled and unencrypted cannot be used together")
    if not here.in_container():
        raise exception.InvalidError("forward() works inside of containers only", hint="Call it in a function.")
    if port in _forwarded:
        raise exception.InvalidError(f"port {port} is forwarded already")
    return _forward(port, unencrypted, "h2" if h2_enabled else "any" if unencrypted else "tls")


@contextlib.asynccontextmanager
async def _forward(port: int, unencrypted: bool, kind: str) -> AsyncIterator[Tunnel]:
    import asyncio

    from windlass.client import session
    from windlass.kit import tasks

    _forwarded.add(port)
    visits: AsyncGenerator[peer.Reply, None] = session.current().stream("tunnel.open", {"port": port, "kind": kind})
    try:
        async with tasks.Tasks(on_failure=lambda name, exc: None) as owner:
            try:
                first = (await asyncio.wait_for(visits.__anext__(), _FIRST)).body
            except StopAsyncIteration:
                raise exception.RemoteError("the platform did not open a tunnel") from None
            owner.start(_welcome(visits, port, owner), "tunnel")
            host, number = first["host"], first["port"]
            raw_host, raw = (host, number) if unencrypted else ("", 0)
            try:
                yield Tunnel(host, number, raw_host, raw, first.get("plain", False))
            finally:
                await _close(first["tunnel_id"])
    finally:
        _forwarded.discard(port)
        await visits.aclose()


async def _close(tunnel_id: str) -> None:
    """Once this returns nobody comes any more. What the function says next goes another way, and could be sooner."""
    import asyncio

    from windlass.client import session

    with contextlib.suppress(exception.Error, asyncio.TimeoutError):  # a platform that has lost us has closed it
        await asyncio.wait_for(session.current().request("tunnel.close", {"tunnel_id": tunnel_id}), _FIRST)


async def _welcome(visits: AsyncGenerator[peer.Reply, None], port: int, owner: Any) -> None:
    async for visit in visits:
        owner.start(_visit(visit.body["ticket"], port), "visitor")


async def _visit(ticket: str, port: int) -> None:
    """Bytes between the platform and the program, both ways."""
    import asyncio
    import json

    from windlass.wire import web

    plan = here.plan
    assert plan is not None
    path = plan["socket"].rpartition("/")[0] + "/" + web.SOCKET
    outside = await asyncio.open_unix_connection(path)
    outside[1].write(json.dumps({"ticket": ticket}).encode() + b"\n")
    try:
        inside = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        outside[1].close()  # nobody listens; the visitor is told so at once, by the end of its connection
        return
    try:
        await asyncio.gather(_copy(inside[0], outside[1]), _copy(outside[0], inside[1]))
    finally:
        inside[1].close()
        outside[1].close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
