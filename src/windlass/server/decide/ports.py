"""Ports of sandboxes and containers: what may be asked for, and who may come. Pure."""

from __future__ import annotations

from collections.abc import Container

from windlass import exception
from windlass.server.decide import web
from windlass.wire import reach
from windlass.wire.messages import sandboxes

TLS, H2, TCP, ANY = "tls", "h2", "tcp", "any"
"""What a listener speaks: TLS (with HTTP/1.1), TLS with HTTP/2, the program's own bytes, or those and TLS."""
_ASKED = frozenset({TLS, H2, TCP})
_MOST = 64  # ports of one sandbox
MOST_METADATA = 512
"""Characters of what a connect token says of its user, and one more."""


def check(spec: sandboxes.SandboxSpec, domains: Container[str]) -> None:
    """Raises ``InvalidError`` for what no client of ours would send, and for a domain that nobody has registered."""
    asked = spec.get("ports", [])
    if len(asked) > _MOST:
        raise exception.InvalidError(f"a sandbox may have {_MOST} open ports, not {len(asked)}")
    if asked and spec["block_network"]:
        raise exception.InvalidError("block_network=True leaves no network for open ports")
    seen: set[int] = set()
    for one in asked:
        if not 0 < one["port"] < 65536 or one["kind"] not in _ASKED or one["port"] in seen:
            raise exception.InvalidError(f"port {one['port']} cannot be opened so")
        seen.add(one["port"])
    domain = spec.get("custom_domain", "")
    if domain and not web.registered(f"x.{domain}", domains):
        raise exception.InvalidError(
            f"the domains below {domain!r} are not registered",
            hint=f"Run `windlass domain add '*.{domain}'`, and let its DNS record point here.",
        )


def check_metadata(text: str) -> None:
    """It becomes a header, and is a part of the token."""
    if len(text) >= MOST_METADATA:
        raise exception.InvalidError(f"user_metadata has {len(text)} characters; less than {MOST_METADATA} fit")
    if not text.isascii() or not text.isprintable():
        raise exception.InvalidError("user_metadata must be JSON, or printable ASCII text")


def admits(spec: sandboxes.SandboxSpec, address: str | None) -> bool:
    """Whether somebody may come to a sandbox from there: without a list everybody may."""
    lists = spec.get("inbound_cidrs")
    return lists is None or (bool(address) and reach.holds(lists, str(address)))
