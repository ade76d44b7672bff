"""Rows of image names: mutable pointers."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("names")


class Row(NamedTuple):
    environment: str
    name: str
    tag: str
    image_id: str
    published_at: float

    def __str__(self) -> str:
        return f"{self.environment}/{self.name}:{self.tag}"


def publish(db: database.Database, row: Row) -> None:
    """Let a name mean an image, whatever it meant before."""
    db.run(_SQL["publish"], row)


def find(db: database.Database, environment: str, name: str, tag: str) -> str | None:
    """The image that a name means now."""
    row = db.one(_SQL["find"], (environment, name, tag))
    return row[0] if row else None


def everything(db: database.Database) -> list[Row]:
    return [Row(*row) for row in db.all(_SQL["all"])]
