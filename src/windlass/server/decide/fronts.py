"""Proxies in front of the edge: which peers may say for whom they ask, and what is believed of it.

Everybody else's word is worth nothing: what they say of themselves is overwritten.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from windlass import exception

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LONGEST = 253


class Client(NamedTuple):
    """Who asks, as the app shall see it. ``port`` 0: unknown. ``host``: with the port, as the client wrote it."""

    address: str
    port: int
    scheme: str
    host: str


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas. Raises ``InvalidError``."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as exc:
        raise exception.InvalidError(
            f"these are no networks of trusted proxies: {exc}", hint="Write them like 127.0.0.1, 10.1.0.0/16."
        ) from None


def trusts(trusted: Sequence[Network], address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(known, "ipv4_mapped", None) or known
    return any(mapped in network for network in trusted)


def client(
    trusted: Sequence[Network], peer: Client, *, forwarded: Sequence[str], scheme: str | None, host: str | None
) -> Client:
    """Who asks, behind a trusted ``peer``: the last in the chain of ``forwarded`` that is no proxy of ours itself."""
    address = peer.address
    for one in reversed([part.strip() for line in forwarded for part in line.split(",")]):
        if not _is_address(one):
            break  # whoever wrote that is not to be believed, nor anything before it
        address = one
        if not trusts(trusted, one):
            break
    return Client(
        address,
        peer.port if address == peer.address else 0,
        scheme if scheme in ("http", "https") else peer.scheme,
        host if host and len(host) <= _LONGEST and host.isascii() and host.isprintable() else peer.host,
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Outside(NamedTuple):
    """What addresses look like from outside: ``https://*.apps.example.org:8443`` has the star for the label."""

    front: str
    back: str
    domain: str


def outside(text: str) -> Outside | None:
    """None where nothing is said, or only "https". Raises ``InvalidError``."""
    if text in ("", "https"):
        return None
    scheme, found, rest = text.rstrip("/").partition("://")
    domain = rest.removeprefix("*.").partition(":")[0].lower()
    if scheme not in ("http", "https") or not found or not rest.startswith("*.") or not domain or "/" in rest:
        raise exception.InvalidError(
            f"web_url {text!r} does not say what addresses look like", hint="Like https://*.apps.example.org."
        )
    return Outside(f"{scheme}://", f".{rest[2:]}", domain)
