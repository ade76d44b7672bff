"""Rows of secrets: values only encrypted."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from windlass.server.store import database

_SQL = database.queries("secrets")


class Row(NamedTuple):
    id: str
    name: str | None
    environment: str
    keys: list[str]
    env: bytes
    created_at: float
    created_by: str
    used_at: float | None


def environment(db: database.Database, identity: str) -> str | None:
    """Where it belongs; without a name, where its app does."""
    row = db.one(_SQL["environment"], (identity,))
    return row[0] if row else None


def insert(
    db: database.Database,
    *,
    identity: str,
    name: str | None,
    app: str | None,
    keys: list[str],
    env: bytes,
    now: float,
    environment: str = "",
    by: str = "",
) -> None:
    """Repeating it changes nothing."""
    row = {"id": identity, "name": name, "app": app, "keys": json.dumps(keys), "env": env, "now": now}
    db.run(_SQL["insert"], {**row, "environment": environment, "by": by})


def by_id(db: database.Database, identity: str) -> Row | None:
    row = db.one(_SQL["by_id"], (identity,))
    return _row(row) if row else None


def by_name(db: database.Database, environment: str, name: str) -> Row | None:
    row = db.one(_SQL["by_name"], (environment, name))
    return _row(row) if row else None


def listed(db: database.Database, environment: str, *, before: float, limit: int) -> list[Row]:
    """Those with names, newest first."""
    return [_row(row) for row in db.all(_SQL["listed"], {"environment": environment, "before": before, "limit": limit})]


def change(db: database.Database, identity: str, keys: list[str], env: bytes) -> None:
    db.run(_SQL["change"], (json.dumps(keys), env, identity))


def used(db: database.Database, identity: str, now: float) -> None:
    """A container was started with it."""
    db.run(_SQL["used"], (now, identity))


def delete(db: database.Database, identity: str) -> None:
    db.run(_SQL["delete"], (identity,))


def rename_environment(db: database.Database, old: str, new: str) -> None:
    db.run(_SQL["rename_environment"], {"old": old, "new": new})


def delete_environment(db: database.Database, environment: str) -> None:
    db.run(_SQL["delete_environment"], (environment,))


def forget_app(db: database.Database, app_id: str) -> None:
    """Delete the anonymous secrets of an app."""
    db.run(_SQL["forget_app"], (app_id,))


def forget_unused(db: database.Database, before: float) -> None:
    """Delete anonymous secrets that were made for a deployment and are in no version: it failed, or has equal ones."""
    db.run(_SQL["forget_unused"], (before,))


def _row(row: tuple[Any, ...]) -> Row:
    identity, name, environment, keys, *rest = row
    return Row(identity, name, environment, json.loads(keys), *rest)
