"""What ``server_url`` says: where the platform is, by which carrier, and which certificate it must show."""
from __future__ import annotations

import re
from typing import NamedTuple
from urllib import parse

from windlass import exception

SOCKET, POSTS = "websocket", "http"

_SCHEMES = {
    "https": (True, (SOCKET, POSTS)),
    "http": (False, (SOCKET, POSTS)),
    "wss": (True, (SOCKET,)),
    "ws": (False, (SOCKET,)),
    "https+post": (True, (POSTS,)),
    "http+post": (False, (POSTS,)),
}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")
_HINT = "Like https://gpu.example.org:8643, wss://…, or unix:/path/to/server.sock."


class Place(NamedTuple):
    """``carriers``: those that may be tried, in this order. ``fingerprint``: of the certificate; "": any that the
    system trusts."""

    host: str
    port: int
    is_secure: bool
    prefix: str
    carriers: tuple[str, ...]
    fingerprint: str

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_secure else 'http'}://{host}:{self.port}{self.prefix}"


def read(url: str, fingerprint: str = "") -> Place:
    """The place that ``url`` names. Its fragment may carry the fingerprint: ``https://host:8643#sha256=…``.

    Raises:
        InvalidError: that is no such address.
    """
    try:
        parts = parse.urlsplit(url.strip())
        port = parts.port
    except ValueError as exc:
        raise exception.InvalidError(f"server_url {url!r} is no address: {exc}", hint=_HINT) from None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.username or parts.query:
        raise exception.InvalidError(f"server_url {url!r} is no address of a platform", hint=_HINT)
    is_secure, carriers = _SCHEMES[parts.scheme]
    pinned = clean(fingerprint or parts.fragment)
    if pinned and not is_secure:
        raise exception.InvalidError(f"server_url {url!r} has a fingerprint but no TLS", hint="Use https://.")
    prefix = parts.path.rstrip("/")
    return Place(parts.hostname, port or (443 if is_secure else 80), is_secure, prefix, carriers, pinned)


def clean(fingerprint: str) -> str:
    """A fingerprint in its one spelling. Raises ``InvalidError``."""
    text = fingerprint.strip().lower().removeprefix("sha256=").removeprefix("sha256:").replace(":", "")
    if text and not _FINGERPRINT.match(text):
        raise exception.InvalidError(
            f"server_fingerprint {fingerprint[:80]!r} is no SHA-256 fingerprint",
            hint="`windlass server status` on the platform's machine shows it: 64 hexadecimal digits.",
        )
    return text
