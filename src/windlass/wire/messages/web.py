"""What people arrange for the web edge: proxy tokens and domains."""
from __future__ import annotations

from typing import TypedDict


class ProxyTokenCreate(TypedDict, total=False):
    """``environments``: those that it is valid for; absent or empty for all."""

    name: str
    environments: list[str]
    by: str


class ProxyTokenCreated(TypedDict):
    """``secret`` is told once and kept by nobody."""

    token_id: str
    secret: str


class ProxyTokenInfo(TypedDict):
    token_id: str
    name: str
    environments: list[str]
    created_at: float
    by: str


class ProxyTokenList(TypedDict):
    """Newest first."""

    tokens: list[ProxyTokenInfo]


class ProxyTokenRef(TypedDict):
    token_id: str


class _TunnelOpen(TypedDict):
    port: int


class TunnelOpen(_TunnelOpen, total=False):
    """From a container, for a port of it. Open as long as the stream. ``kind``: what is spoken there ("tls", "h2",
    "any")."""

    kind: str


class TunnelClose(TypedDict):
    """Answered when nobody is let in any more."""

    tunnel_id: str


class TunnelItem(TypedDict, total=False):
    """First where the tunnel is (``plain``: URLs of it are http), then the number of each ``visitor``, for whom the
    container connects to the edge, and shows the ``ticket`` there."""

    tunnel_id: str
    host: str
    port: int
    plain: bool
    visitor: int
    ticket: str


class EdgeTrusted(TypedDict):
    """``certificate``: the file of the local authority's. ``port``: where the edge answers HTTPS."""

    certificate: str
    port: int


class DomainRef(TypedDict):
    domain: str


class DomainInfo(TypedDict):
    domain: str
    created_at: float


class DomainList(TypedDict):
    domains: list[DomainInfo]
