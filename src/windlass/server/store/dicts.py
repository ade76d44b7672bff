"""Rows of entries of dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from windlass.server.state import work
from windlass.server.store import database

_SQL = database.queries("dicts")


class Entry(NamedTuple):
    used_at: float
    data: work.Data


class Place(NamedTuple):
    """Where an entry is, and what is needed to let it go."""

    content: int
    key: bytes
    used_at: float
    blob: str | None


def get(db: database.Database, content: int, key: bytes) -> Entry | None:
    row = db.one(_SQL["get"], (content, key))
    return Entry(row[0], work.Data(row[3], row[2], row[1])) if row else None


def peek(db: database.Database, content: int, key: bytes) -> Place | None:
    """An entry without its value."""
    row = db.one(_SQL["peek"], (content, key))
    return Place(content, key, row[0], row[1]) if row else None


def put(db: database.Database, content: int, entries: Iterable[tuple[bytes, work.Data]], now: float) -> None:
    db.many(_SQL["put"], ((content, key, now, data.size, data.blob, data.inline) for key, data in entries))


def touch(db: database.Database, content: int, key: bytes, now: float) -> None:
    db.run(_SQL["touch"], (now, content, key))


def delete(db: database.Database, places: Iterable[tuple[int, bytes]]) -> None:
    db.many(_SQL["delete"], places)


def count(db: database.Database, content: int, *, after: float, most: int) -> int:
    """Entries used after a time, counting no more than ``most``."""
    row = db.one(_SQL["count"], {"content": content, "after": after, "most": most})
    assert row is not None
    return int(row[0])


def has_blobs(db: database.Database, content: int) -> bool:
    return db.one(_SQL["has_blobs"], (content,)) is not None


def scan(
    db: database.Database, content: int, key: bytes, *, after: float, limit: int
) -> Iterator[tuple[bytes, work.Data]]:
    """Entries behind ``key`` that were used after a time."""
    query = {"content": content, "key": key, "after": after, "limit": limit}
    for found, size, blob, value in db.run(_SQL["scan"], query):
        yield found, work.Data(value, blob, size)


def keys(db: database.Database, content: int, key: bytes, *, after: float, limit: int) -> list[bytes]:
    query = {"content": content, "key": key, "after": after, "limit": limit}
    return [found for (found,) in db.all(_SQL["keys"], query)]


def walk(db: database.Database, behind: tuple[int, bytes], limit: int) -> list[Place]:
    """The next entries of all dicts."""
    return [Place(*row) for row in db.all(_SQL["walk"], (*behind, limit))]


def some(db: database.Database, content: int, limit: int) -> list[Place]:
    """Any entries of a content that may go."""
    return [Place(content, key, 0.0, blob) for key, blob in db.all(_SQL["some"], (content, limit))]
