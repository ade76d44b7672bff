"""What dicts and queues have in common: names, lists, ends.

Methods are ``dict.…`` and ``queue.…``. What changes something carries ``op``, a number that its client gives to one
operation, and ``low``, the lowest number that is still open there: repeating an operation gives its first answer.
"""
from __future__ import annotations

from typing import TypedDict


class CollectionOpen(TypedDict, total=False):
    """Find one by name, or make it. ``id``: what it shall be called when it is made; repeating is harmless.

    ``create``: "never", "missing" (where there is none) or "always" (an error where there is one). Without a name it
    is made, and ends with its client.
    """

    id: str
    name: str
    environment: str
    create: str
    by: str


class CollectionRef(TypedDict):
    id: str


class CollectionName(TypedDict, total=False):
    name: str
    environment: str
    op: int
    low: int


class CollectionInfo(TypedDict):
    """``name`` is "" for an ephemeral one."""

    id: str
    name: str
    environment: str
    created_at: float
    created_by: str


class CollectionList(TypedDict, total=False):
    environment: str
    limit: int
    created_before: float


class CollectionListReply(TypedDict):
    """Newest first."""

    collections: list[CollectionInfo]
