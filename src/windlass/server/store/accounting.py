"""Rows of what apps had of the machines, by the hour."""

from __future__ import annotations

import json

from windlass.server.state import accounting
from windlass.server.store import database

_SQL = database.queries("accounting")


def add(db: database.Database, parts: list[accounting.Part]) -> None:
    db.many(_SQL["add"], [{**part.whose._asdict(), **part.held._asdict(), "hour": part.hour} for part in parts])


def between(
    db: database.Database, first: int, end: int, *, span: int, environment: str | None
) -> list[tuple[accounting.Whose, int, accounting.Held, dict[str, str]]]:
    """Sums of ``span`` hours each, of the hours from ``first`` up to before ``end``; with the app's tags."""
    chosen = {"first": first, "end": end, "span": span, "environment": environment}
    return [
        (accounting.Whose(app, name, of), number, accounting.Held(*held), json.loads(tags))
        for app, number, name, of, tags, *held in db.all(_SQL["between"], chosen)
    ]


def tags(db: database.Database, app: str) -> dict[str, str]:
    row = db.one(_SQL["tags"], (app,))
    found: dict[str, str] = json.loads(row[0]) if row else {}
    return found


def rename_environment(db: database.Database, old: str, new: str) -> None:
    db.run(_SQL["rename_environment"], {"old": old, "new": new})


def forget(db: database.Database, before: int) -> None:
    """``before``: an hour since the epoch."""
    db.run(_SQL["forget"], (before,))
