"""Rows of built images. A row exists only for a layer that was published whole."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from windlass.server.store import database
from windlass.wire.messages import images, workers

_SQL = database.queries("images")


class Row(NamedTuple):
    """``used_at``: the last container start or build on it, to about a minute."""

    id: str
    key: str
    parent: str | None
    recipe: images.Recipe
    meta: workers.ImageMeta
    built_at: float
    used_at: float | None


def _row(row: tuple[Any, ...]) -> Row:
    identity, key, parent, recipe, meta, built_at, used_at = row
    return Row(identity, key, parent, json.loads(recipe), json.loads(meta), built_at, used_at)


def current(db: database.Database, key: str) -> tuple[str, workers.ImageMeta] | None:
    """(image id, meta) that ``key`` means now."""
    row = db.one(_SQL["current"], (key,))
    return (row[0], json.loads(row[1])) if row else None


def by_id(db: database.Database, image_id: str) -> Row | None:
    row = db.one(_SQL["by_id"], (image_id,))
    return _row(row) if row else None


def meta(db: database.Database, image_id: str) -> workers.ImageMeta | None:
    row = by_id(db, image_id)
    return row.meta if row else None


def everything(db: database.Database) -> dict[str, Row]:
    """All images by id."""
    return {row[0]: _row(row) for row in db.all(_SQL["all"])}


def insert(
    db: database.Database,
    *,
    image_id: str,
    key: str,
    parent: str | None,
    recipe: images.Recipe,
    meta: Any,
    now: float,
    current: bool = True,
) -> None:
    """Record a built layer; with ``current`` its key means it from now on."""
    db.run(_SQL["insert"], (image_id, key, parent, json.dumps(recipe), json.dumps(meta), now, now))
    if current:
        db.run(_SQL["make_current"], (key, image_id))


def used(db: database.Database, image_ids: list[str], now: float) -> None:
    db.many(_SQL["used"], [(now, image_id) for image_id in image_ids])
