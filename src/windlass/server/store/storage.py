"""What rows say of storage: which blobs their texts may name, and what they take."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("storage")


class Collection(NamedTuple):
    """A dict or a queue: ``held`` entries or items, and their bytes."""

    id: str
    environment: str
    name: str | None
    held: int
    size: int


def texts(db: database.Database) -> list[str]:
    """All texts in which digests of blobs may stand."""
    return [text for (text,) in db.all(_SQL["texts"])]


def used(db: database.Database) -> int:
    """Bytes of the database that hold something."""
    row = db.one(_SQL["pages"])
    assert row is not None
    return int(row[0] * row[1])


def layers(db: database.Database) -> int:
    """Bytes of all layers of volumes that versions name, or did lately."""
    row = db.one(_SQL["layers"])
    assert row is not None
    return int(row[0])


def dicts(db: database.Database) -> list[Collection]:
    return [Collection(*row) for row in db.all(_SQL["dicts"])]


def queues(db: database.Database) -> list[Collection]:
    return [Collection(*row) for row in db.all(_SQL["queues"])]


def logs(db: database.Database) -> int:
    """Bytes of what programs and builds printed."""
    row = db.one(_SQL["logs"])
    assert row is not None
    return int(row[0])
