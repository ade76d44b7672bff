"""What is stored, and what of it nothing needs any more."""
from __future__ import annotations

from typing import TypedDict


class StorageGc(TypedDict, total=False):
    """Remove what nothing names: older than the server's own ages, or than ``older_than`` seconds (at least 60).
    ``dry_run``: only say what."""

    older_than: float
    dry_run: bool


class Garbage(TypedDict):
    """``what``: "uploads", "blobs", "volume layers" or "entries"; ``size`` in bytes."""

    what: str
    count: int
    size: int


class Measured(TypedDict):
    """Bytes on the disk; ``shared``: what another volume has, too."""

    size: int
    shared: int


class StorageCollected(TypedDict):
    garbage: list[Garbage]
    size: int
