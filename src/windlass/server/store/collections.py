"""Rows of dicts and queues, and the numbers of their contents."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("collections")


class Row(NamedTuple):
    id: str
    kind: str
    name: str | None
    environment: str
    client: str | None
    content: int
    created_at: float
    created_by: str


def insert(db: database.Database, row: Row) -> None:
    db.run(_SQL["insert"], row._asdict())


def by_id(db: database.Database, identity: str) -> Row | None:
    row = db.one(_SQL["by_id"], (identity,))
    return Row(*row) if row else None


def by_name(db: database.Database, kind: str, environment: str, name: str) -> Row | None:
    row = db.one(_SQL["by_name"], (kind, environment, name))
    return Row(*row) if row else None


def listed(db: database.Database, kind: str, environment: str, *, before: float, limit: int) -> list[Row]:
    """Those with names, newest first."""
    named = {"kind": kind, "environment": environment, "before": before, "limit": limit}
    return [Row(*row) for row in db.all(_SQL["listed"], named)]


def of_environment(db: database.Database, environment: str) -> list[Row]:
    return [Row(*row) for row in db.all(_SQL["of_environment"], (environment,))]


def of_client(db: database.Database, client: str) -> list[Row]:
    """Ephemeral ones that end with this client."""
    return [Row(*row) for row in db.all(_SQL["of_client"], (client,))]


def clients(db: database.Database) -> list[str]:
    """Clients that have ephemeral ones."""
    return [client for (client,) in db.all(_SQL["clients"])]


def delete(db: database.Database, row: Row) -> None:
    db.run(_SQL["delete"], (row.id,))


def set_content(db: database.Database, identity: str, content: int) -> None:
    db.run(_SQL["set_content"], (content, identity))


def rename_environment(db: database.Database, old: str, new: str) -> None:
    db.run(_SQL["rename_environment"], {"old": old, "new": new})


def new_content(db: database.Database, kind: str) -> int:
    """A number that was never given before."""
    n = db.run(_SQL["new_content"], (kind,)).lastrowid
    assert n is not None
    return n


def drop_content(db: database.Database, n: int) -> None:
    """Nobody sees it any more; its rows may go when there is time."""
    db.run(_SQL["drop_content"], (n,))


def dropped(db: database.Database) -> tuple[int, str] | None:
    """A content whose rows may go, and its kind."""
    row = db.one(_SQL["dropped"])
    return (row[0], row[1]) if row else None


def forget_content(db: database.Database, n: int) -> None:
    """Its rows are gone."""
    db.run(_SQL["forget_content"], (n,))
