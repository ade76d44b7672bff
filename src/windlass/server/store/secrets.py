"""Rows of secrets: values only encrypted."""

from __future__ import annotations

import json
from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("secrets")


class Row(NamedTuple):
    name: str | None
    keys: list[str]
    env: bytes


def insert(
    db: database.Database, *, identity: str, name: str | None, app: str | None, keys: list[str], env: bytes, now: float
) -> None:
    """Repeating it changes nothing."""
    db.run(_SQL["insert"], (identity, name, app, json.dumps(keys), env, now))


def by_id(db: database.Database, identity: str) -> Row | None:
    row = db.one(_SQL["by_id"], (identity,))
    return Row(row[0], json.loads(row[1]), row[2]) if row else None


def forget_app(db: database.Database, app_id: str) -> None:
    """Delete the anonymous secrets of an app."""
    db.run(_SQL["forget_app"], (app_id,))


def forget_unused(db: database.Database, before: float) -> None:
    """Delete anonymous secrets that were made for a deployment and are in no version: it failed, or has equal ones."""
    db.run(_SQL["forget_unused"], (before,))
