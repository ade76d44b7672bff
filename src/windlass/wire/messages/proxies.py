"""Proxies: addresses of this machine that containers leave by."""
from __future__ import annotations

from typing import TypedDict


class _ProxyCreate(TypedDict):
    name: str
    addresses: list[str]


class ProxyCreate(_ProxyCreate, total=False):
    environment: str


class ProxyGet(TypedDict, total=False):
    """By id, or by name."""

    proxy_id: str
    name: str
    environment: str


class ProxyInfo(TypedDict):
    proxy_id: str
    name: str
    environment: str
    addresses: list[str]
    created_at: float
    created_by: str


class ProxyList(TypedDict, total=False):
    environment: str


class ProxyListReply(TypedDict):
    proxies: list[ProxyInfo]


class ProxyRef(TypedDict):
    proxy_id: str


class NetworkAddresses(TypedDict):
    """A worker's answer: the machine's addresses that containers may leave by; ``why`` there are none."""

    addresses: list[str]
    why: str
