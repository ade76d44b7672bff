"""Rows of environments: the parts of a workspace, each with apps and names of its own."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.store import accounting, database, nfs, proxies, volumes

_SQL = database.queries("environments")


class Row(NamedTuple):
    id: str
    name: str
    web_suffix: str
    created_at: float
    default_role: str = "contributor"
    builder_version: str = ""


def everything(db: database.Database) -> list[Row]:
    """Oldest first."""
    return [Row(*row) for row in db.all(_SQL["all"])]


def by_name(db: database.Database, name: str) -> Row | None:
    row = db.one(_SQL["by_name"], (name,))
    return Row(*row) if row else None


def insert(db: database.Database, row: Row) -> None:
    db.run(_SQL["insert"], row._asdict())


def set_default_role(db: database.Database, identity: str, role: str) -> None:
    db.run(_SQL["set_default_role"], (role, identity))


def update(db: database.Database, old: Row, new: Row) -> None:
    """Rename it with all that bears its name, or give it another suffix or builder version."""
    db.run(_SQL["update"], new._asdict())
    if new.name != old.name:
        db.run(_SQL["rename_apps"], {"new": new.name, "old": old.name})
        db.run(_SQL["rename_images"], {"new": new.name, "old": old.name})
        volumes.rename_environment(db, old.name, new.name)
        nfs.rename_environment(db, old.name, new.name)
        accounting.rename_environment(db, old.name, new.name)
        proxies.rename_environment(db, old.name, new.name)


def delete(db: database.Database, row: Row) -> None:
    """Its apps are forgotten when they have stopped."""
    db.run(_SQL["delete_images"], (row.name,))
    volumes.delete_environment(db, row.name)
    nfs.delete_environment(db, row.name)
    proxies.delete_environment(db, row.name)
    db.run(_SQL["delete"], (row.id,))


def remains(db: database.Database, name: str) -> bool:
    """Whether there still are apps in it."""
    return db.one(_SQL["remains"], (name,)) is not None
