"""Rows of network file systems."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.store import database, lasting

_SQL = database.queries("nfs")


class Row(NamedTuple):
    id: str
    environment: str
    name: str | None
    created_at: float
    created_by: str
    beat_at: float


_rows = lasting.Rows(_SQL, Row)
by_id, by_name, named, silent = _rows.by_id, _rows.by_name, _rows.named, _rows.silent
insert, beat, rename_environment = _rows.insert, _rows.beat, _rows.rename_environment


def everything(db: database.Database) -> list[Row]:
    """Of all environments, ephemeral ones, too."""
    return [Row(*row) for row in db.all(_SQL["everything"])]


def delete(db: database.Database, nfs_id: str) -> None:
    db.run(_SQL["delete"], (nfs_id,))


def delete_environment(db: database.Database, environment: str) -> None:
    db.run(_SQL["delete_environment"], (environment,))
