"""Ways out of networks that have one door: HTTP proxies, as ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and
``NO_PROXY`` name them, and as the settings of macOS and Windows do.
"""
from __future__ import annotations

import asyncio
import base64
from typing import NamedTuple
from urllib import parse, request

from windlass import config

_LARGEST = 16 * 1024


class Proxy(NamedTuple):
    host: str
    port: int
    login: str


def before(host: str, *, is_secure: bool) -> Proxy | None:
    """The proxy on the way to ``host``; None where there is none, or ``disable_api_proxy`` says to do without.

    Raises ``OSError`` for one of a kind that we lack.
    """
    if config.config["disable_api_proxy"]:
        return None
    known = request.getproxies()
    url = known.get("https" if is_secure else "http") or known.get("all")
    if not url or _is_near(host) or request.proxy_bypass(host):
        return None
    parts = parse.urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise OSError(f"the proxy {parts.scheme}://{parts.hostname or ''} is no HTTP proxy")
    name, secret = parse.unquote(parts.username or ""), parse.unquote(parts.password or "")
    return Proxy(parts.hostname, parts.port or 80, f"{name}:{secret}" if name else "")


def _is_near(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


async def through(proxy: Proxy, host: str, port: int) -> asyncio.Transport:
    """A connection that the proxy made. Raises ``OSError`` where it does not."""
    loop = asyncio.get_running_loop()
    transport, asked = await loop.create_connection(_Asked, proxy.host, proxy.port)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    login = ""
    if proxy.login:
        login = f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}\r\n"
    transport.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode("latin-1"))
    try:
        await asked.answer
    except BaseException:
        transport.abort()
        raise
    return transport


class _Asked(asyncio.Protocol):
    """Waits for the proxy's word; what comes after it is the other end's."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self.answer.done() or (b"\r\n\r\n" not in self._data and len(self._data) < _LARGEST):
            return
        first = self._data.split(b"\r\n")[0].decode("latin-1")
        if first.startswith("HTTP/1.") and first.split(" ")[1:2] == ["200"]:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(OSError(f"the proxy refuses: {first[:80]}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(OSError("the proxy closed the connection"))
            self.answer.exception()  # perhaps nobody waits for it
