"""Rows of network file systems."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("nfs")


class Row(NamedTuple):
    id: str
    environment: str
    name: str | None
    created_at: float
    created_by: str
    beat_at: float


def by_id(db: database.Database, nfs_id: str) -> Row | None:
    row = db.one(_SQL["by_id"], (nfs_id,))
    return Row(*row) if row else None


def by_name(db: database.Database, environment: str, name: str) -> Row | None:
    row = db.one(_SQL["by_name"], (environment, name))
    return Row(*row) if row else None


def named(db: database.Database, environment: str) -> list[Row]:
    """Newest first."""
    return [Row(*row) for row in db.all(_SQL["named"], (environment,))]


def everything(db: database.Database) -> list[Row]:
    """Of all environments, ephemeral ones, too."""
    return [Row(*row) for row in db.all(_SQL["everything"])]


def silent(db: database.Database, before: float) -> list[Row]:
    """Ephemeral ones whose owner was not heard since."""
    return [Row(*row) for row in db.all(_SQL["silent"], (before,))]


def insert(db: database.Database, row: Row) -> None:
    db.run(_SQL["insert"], row)


def beat(db: database.Database, nfs_id: str, now: float) -> None:
    db.run(_SQL["beat"], (now, nfs_id))


def delete(db: database.Database, nfs_id: str) -> None:
    db.run(_SQL["delete"], (nfs_id,))


def delete_environment(db: database.Database, environment: str) -> None:
    db.run(_SQL["delete_environment"], (environment,))


def rename_environment(db: database.Database, old: str, new: str) -> None:
    db.run(_SQL["rename_environment"], {"old": old, "new": new})
