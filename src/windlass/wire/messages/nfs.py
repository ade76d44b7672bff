"""Network file systems: what users ask for, and what the server asks of workers.

Listings, reads and edits have the shapes of volumes (``messages.volumes``); ``volume_id`` in them is then the id of the
network file system. Of the steps of an edit there are "put" and "remove", and each happens by itself.
"""
from __future__ import annotations

from typing import TypedDict


class NfsMount(TypedDict):
    """A network file system in a function's containers."""

    path: str
    nfs_id: str


class NfsGet(TypedDict, total=False):
    """By id, or by name. ``create``: "missing" or "new" (it must not exist).

    ``ephemeral``: one without a name, which lives until its owner's ``nfs.beat`` stays away.
    """

    volume_id: str
    name: str
    environment: str
    create: str
    ephemeral: bool


class NfsInfo(TypedDict):
    volume_id: str
    name: str
    environment: str
    created_at: float
    created_by: str


class NfsList(TypedDict, total=False):
    environment: str


class NfsListReply(TypedDict):
    file_systems: list[NfsInfo]


class FoldersRead(TypedDict, total=False):
    """To a worker, with the path as attachment 0."""

    nfs_id: str
    recursive: bool
    offset: int
    size: int


class FoldersGather(TypedDict):
    """To a worker, as ``volumes.VolumeGather``."""

    nfs_id: str
    most: int


class FoldersEdit(TypedDict):
    """To a worker, with a JSON list of ``volumes.EditStep`` as attachment 0."""

    nfs_id: str


class FoldersKnown(TypedDict):
    """Ids of the folders that a worker has; or of those that it shall remove."""

    nfs_ids: list[str]
