"""Rows of principals, their tokens and roles, and of the audit log."""

from __future__ import annotations

import json
from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("identity")


class Principal(NamedTuple):
    id: str
    name: str
    kind: str
    created_at: float
    created_by: str
    used_at: float | None


class Token(NamedTuple):
    id: str
    principal: str
    salt: bytes
    digest: bytes
    old_digest: bytes | None
    old_until: float | None
    environments: list[str]
    """Ids of those that it is valid in; none: wherever its principal may be."""
    created_at: float
    created_by: str
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None


class Entry(NamedTuple):
    """One line of the audit log."""

    at: float
    principal: str
    name: str
    action: str
    target: str
    environment: str
    source: str
    outcome: str


def principals(db: database.Database) -> list[Principal]:
    """Oldest first."""
    return [Principal(*row) for row in db.all(_SQL["principals"])]


def principal(db: database.Database, identity: str) -> Principal | None:
    row = db.one(_SQL["principal"], (identity,))
    return Principal(*row) if row else None


def named(db: database.Database, name: str) -> Principal | None:
    row = db.one(_SQL["principal_named"], (name,))
    return Principal(*row) if row else None


def insert_principal(db: database.Database, row: Principal) -> None:
    db.run(_SQL["insert_principal"], row._asdict())


def set_kind(db: database.Database, identity: str, kind: str) -> None:
    db.run(_SQL["set_kind"], (kind, identity))


def delete_principal(db: database.Database, identity: str) -> None:
    """With its tokens and roles."""
    for statement in ("delete_tokens_of", "delete_roles_of", "delete_principal"):
        db.run(_SQL[statement], (identity,))


def tokens(db: database.Database) -> list[Token]:
    """Newest first."""
    return [_token(row) for row in db.all(_SQL["tokens"])]


def token(db: database.Database, identity: str) -> Token | None:
    row = db.one(_SQL["token"], (identity,))
    return _token(row) if row else None


def _token(row: tuple[object, ...]) -> Token:
    found = Token(*row)  # type: ignore[arg-type]
    return found._replace(environments=json.loads(str(row[6])))


def insert_token(db: database.Database, row: Token) -> None:
    db.run(_SQL["insert_token"], {**row._asdict(), "environments": json.dumps(row.environments)})


def rotate(db: database.Database, row: Token) -> None:
    """Write its new secret and expiry."""
    db.run(_SQL["rotate"], {**row._asdict(), "environments": ""})


def revoke(db: database.Database, identity: str, now: float) -> None:
    db.run(_SQL["revoke"], (now, identity))


def note_use(db: database.Database, row: Token, now: float) -> None:
    db.run(_SQL["token_used"], (now, row.id))
    db.run(_SQL["principal_used"], (now, row.principal))


def forget_tokens(db: database.Database, before: float) -> None:
    """Those that ended before then."""
    db.run(_SQL["forget_tokens"], (before,))


def roles(db: database.Database) -> dict[str, dict[str, str]]:
    """By principal, then by the id of the environment."""
    found: dict[str, dict[str, str]] = {}
    for environment, whose, role in db.all(_SQL["roles"]):
        found.setdefault(whose, {})[environment] = role
    return found


def set_role(db: database.Database, environment: str, whose: str, role: str | None) -> None:
    """None: the environment's default counts again."""
    if role is None:
        db.run(_SQL["delete_role"], (environment, whose))
    else:
        db.run(_SQL["set_role"], (environment, whose, role))


def delete_roles_in(db: database.Database, environment: str) -> None:
    db.run(_SQL["delete_roles_in"], (environment,))


def insert_audit(db: database.Database, entry: Entry) -> None:
    db.run(_SQL["insert_audit"], entry._asdict())


def audit(
    db: database.Database, *, since: float, until: float, name: str | None, action: str | None, limit: int
) -> list[Entry]:
    """Newest first. ``action`` may have stars."""
    query = {"since": since, "until": until, "name": name, "action": action, "limit": limit}
    return [Entry(*row) for row in db.all(_SQL["audit"], query)]


def forget_audit(db: database.Database, before: float) -> bool:
    """Forget some that are older. True when more may be left."""
    return db.run(_SQL["forget_audit"], (before,)).rowcount >= 1000
