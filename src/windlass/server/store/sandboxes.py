"""Rows of sandboxes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from windlass.server.state import sandboxes
from windlass.server.store import database

_SQL = database.queries("sandboxes")


class Row(NamedTuple):
    n: int
    id: str
    app_id: str
    name: str
    tags: dict[str, str]
    spec: Any
    state: int
    container: int | None
    created_at: float
    started_at: float | None
    ready_at: float | None
    ended_at: float | None
    code: int | None
    why: str
    message: str
    container_id: str | None
    node: str | None


class Memory(NamedTuple):
    """Of ``sandbox_memory``."""

    id: str
    image_id: str
    app_id: str
    name: str
    tags: dict[str, str]
    spec: Any
    created_at: float
    expires_at: float


def next_n(db: database.Database) -> int:
    return int(db.all(_SQL["next_n"])[0][0])


def insert(db: database.Database, one: sandboxes.Sandbox) -> None:
    row = (one.n, one.id, one.app.n, one.name, json.dumps(one.tags), json.dumps(one.spec), one.state, one.created_at)
    db.run(_SQL["insert"], row)


def update(db: database.Database, one: sandboxes.Sandbox) -> None:
    container = None if one.container is None else one.container.n
    row = (one.state, container, one.started_at, one.ready_at, one.ended_at, one.code, one.why, one.message, one.n)
    db.run(_SQL["update"], row)


def move(db: database.Database, leap: float) -> None:
    """Those that have not ended began so much later."""
    db.run(_SQL["move"], {"by": leap})


def set_tags(db: database.Database, n: int, tags: dict[str, str]) -> None:
    db.run(_SQL["tags"], (json.dumps(tags), n))


def living(db: database.Database) -> list[Row]:
    return [_row(row) for row in db.all(_SQL["living"])]


def by_id(db: database.Database, identity: str) -> Row | None:
    row = db.one(_SQL["by_id"], (identity,))
    return _row(row) if row else None


def by_name(db: database.Database, app_id: str, name: str) -> Row | None:
    """The living one of that name, else the last one that had it."""
    row = db.one(_SQL["by_name"], (app_id, name))
    return _row(row) if row else None


def listed(
    db: database.Database, *, app: str | None, environment: str | None, ended: bool, before: str | None, limit: int
) -> list[Row]:
    query = {"app": app, "environment": environment, "ended": ended, "before": before, "limit": limit}
    return [_row(row) for row in db.all(_SQL["listed"], query)]


def forget(db: database.Database, before: float) -> bool:
    """Forget some that ended before then. True when more may be left."""
    return db.run(_SQL["forget"], (before,)).rowcount >= 1000


def add_snapshot(db: database.Database, image_id: str, expires_at: float | None) -> None:
    db.run(_SQL["insert_snapshot"], (image_id, expires_at))


def snapshot_expired(db: database.Database, image_id: str, now: float) -> bool:
    return db.one(_SQL["snapshot_expired"], (image_id, now)) is not None


def snapshots_kept(db: database.Database, now: float) -> list[str]:
    """Images that are snapshots and whose time is not over."""
    return [row[0] for row in db.all(_SQL["snapshots_kept"], (now,))]


class Figures(NamedTuple):
    """Of a span of time. ``ended``: how many, by why. ``starts``: seconds from the wish to the running command."""

    created: int
    ended: dict[str, int]
    starts: list[float]


def figures(db: database.Database, app: str, since: float, until: float) -> Figures:
    span = {"app": app, "since": since, "until": until}
    return Figures(
        int(db.all(_SQL["created"], span)[0][0]), dict(db.all(_SQL["ended"], span)),
        [row[0] for row in db.all(_SQL["starts"], span)],
    )  # fmt: skip


class Port(NamedTuple):
    """Where a port of a sandbox is reached. ``number``: by TLS; ``raw``: by its own bytes, 0 where it is not."""

    port: int
    host: str
    number: int
    raw: int


def ports(db: database.Database, n: int) -> list[Port]:
    return [Port(*row) for row in db.all(_SQL["ports"], (n,))]


def put_port(db: database.Database, n: int, port: Port) -> None:
    db.run(_SQL["put_port"], (n, *port))


def forget_ports(db: database.Database, n: int) -> None:
    db.run(_SQL["forget_ports"], (n,))


def add_memory(db: database.Database, app: int, one: Memory) -> None:
    row = (one.id, one.image_id, app, one.name, json.dumps(one.tags), json.dumps(one.spec), one.created_at)
    db.run(_SQL["insert_memory"], (*row, one.expires_at))


def memory_by_id(db: database.Database, identity: str) -> Memory | None:
    row = db.one(_SQL["memory_by_id"], (identity,))
    if row is None:
        return None
    found = Memory(*row)
    return found._replace(tags=json.loads(row[4]), spec=json.loads(row[5]))


def forget_memories(db: database.Database, before: float) -> None:
    db.run(_SQL["forget_memories"], (before,))


def _row(row: tuple[Any, ...]) -> Row:
    found = Row(*row)
    return found._replace(tags=json.loads(row[4]), spec=json.loads(row[5]))
