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


class StorageMeasure(TypedDict):
    """To a worker: what do these volumes take? Their layers by id, of all versions."""

    volumes: dict[str, list[str]]


class StorageMeasured(TypedDict):
    """``layers``: all of volumes together; ``nfs``: network file systems by id."""

    volumes: dict[str, Measured]
    layers: int
    nfs: dict[str, int]


class Kind(TypedDict):
    """``what``: "layers of no volume" are those of deleted volumes and forgotten versions, which are kept for a while.
    ``freeable``: bytes of ``size`` that nothing needs. ``command``: makes it smaller, "" where it does so itself."""

    what: str
    size: int
    freeable: int
    command: str


class VolumeUsage(TypedDict):
    """``newest``: bytes of files in the newest version, which quotas count; ``size``: on the disk, of all ``versions``;
    ``shared``: of it, what other volumes have, too. ``quota`` 0: no limit."""

    volume_id: str
    name: str
    environment: str
    newest: int
    size: int
    shared: int
    versions: int
    quota: int


class Held(TypedDict):
    """A network file system, dict or queue; ``held``: entries or items."""

    id: str
    name: str
    environment: str
    held: int
    size: int


class StorageUsage(TypedDict):
    """``objects``: where blobs are kept, "" for this disk. ``counted``: what ``quota`` (0: none) is compared with.
    ``stored_logs``: bytes of output in the database. ``free`` and all bytes of the ``disk``."""

    objects: str
    kinds: list[Kind]
    volumes: list[VolumeUsage]
    nfs: list[Held]
    dicts: list[Held]
    queues: list[Held]
    stored_logs: int
    counted: int
    quota: int
    free: int
    disk: int
