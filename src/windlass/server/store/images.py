"""Rows of built images. A row exists only for a layer that was published whole."""

from __future__ import annotations

import json
from typing import Any

from windlass.server.store import database
from windlass.wire.messages import images, workers

_SQL = database.queries("images")


def current(db: database.Database, key: str) -> tuple[str, workers.ImageMeta] | None:
    """(image id, meta) that ``key`` means now."""
    row = db.one(_SQL["current"], (key,))
    return (row[0], json.loads(row[1])) if row else None


def meta(db: database.Database, image_id: str) -> workers.ImageMeta | None:
    row = db.one(_SQL["by_id"], (image_id,))
    return json.loads(row[3]) if row else None


def step(db: database.Database, image_id: str) -> tuple[str | None, images.Recipe] | None:
    """(parent, recipe) of a layer."""
    row = db.one(_SQL["step"], (image_id,))
    return (row[0], json.loads(row[1])) if row else None


def insert(
    db: database.Database, *, image_id: str, key: str, parent: str | None, recipe: images.Recipe, meta: Any, now: float
) -> None:
    """Record a built layer and let its key mean it."""
    db.run(_SQL["insert"], (image_id, key, parent, json.dumps(recipe), json.dumps(meta), now))
    db.run(_SQL["make_current"], (key, image_id))
