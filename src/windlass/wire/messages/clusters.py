"""Clusters: containers that run each input together."""
from __future__ import annotations

from typing import TypedDict


class ClusterRef(TypedDict):
    cluster_id: str


class ClusterInfo(TypedDict):
    """``containers`` and their private ``addresses`` are by rank."""

    cluster_id: str
    containers: list[str]
    addresses: list[str]
