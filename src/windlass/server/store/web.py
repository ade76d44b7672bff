"""Rows of what concerns the web edge: proxy tokens, as digests, and domains."""

from __future__ import annotations

import json
from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("web")


class Token(NamedTuple):
    id: str
    name: str
    digest: str
    environments: list[str]
    """Those that it is valid for; none: all."""
    created_at: float
    created_by: str


def tokens(db: database.Database) -> list[Token]:
    """Newest first."""
    return [Token(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5]) for row in db.all(_SQL["tokens"])]


def insert_token(db: database.Database, token: Token) -> None:
    db.run(_SQL["insert_token"], {**token._asdict(), "environments": json.dumps(token.environments)})


def delete_token(db: database.Database, identity: str) -> None:
    db.run(_SQL["delete_token"], (identity,))


def domains(db: database.Database) -> dict[str, float]:
    """When each was registered."""
    return dict(db.all(_SQL["domains"]))


def insert_domain(db: database.Database, name: str, now: float) -> None:
    db.run(_SQL["insert_domain"], (name, now))


def delete_domain(db: database.Database, name: str) -> None:
    db.run(_SQL["delete_domain"], (name,))
