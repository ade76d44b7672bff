"""Rows of containers."""

from __future__ import annotations

import json
from typing import NamedTuple

from windlass.server.state import machines
from windlass.server.store import database

_SQL = database.queries("containers")


class Row(NamedTuple):
    n: int
    id: str
    function: int
    node: str
    state: int
    want: str
    created_at: float
    started_at: float | None
    log_offset: int
    made_at: float | None
    phases: dict[str, float]
    generation: int
    gpus: tuple[str, ...]
    cluster: str | None
    rank: int


class Past(NamedTuple):
    """What is left of a container that may be gone."""

    n: int
    app: int
    function: int
    state: int
    log_offset: int


def next_n(db: database.Database) -> int:
    return int(db.all(_SQL["next_n"])[0][0])


def insert(db: database.Database, container: machines.Container) -> None:
    function = container.function
    db.run(
        _SQL["insert"],
        (
            container.n,
            container.id,
            function.n,
            function.app.n,
            container.node,
            container.state,
            container.created_at,
            container.generation,
            json.dumps(container.gpus),
            container.cluster.id if container.cluster is not None else None,
            container.rank,
        ),
    )


def move(db: database.Database, leap: float) -> None:
    """Those that are alive began so much later."""
    db.run(_SQL["move"], {"by": leap})


def update(db: database.Database, container: machines.Container) -> None:
    db.run(
        _SQL["update"],
        (
            container.state,
            container.want,
            container.started_at,
            container.made_at,
            json.dumps(container.phases),
            container.n,
        ),
    )


def gone(db: database.Database, container: machines.Container, now: float, exit: machines.Exit) -> None:
    db.run(_SQL["gone"], (now, json.dumps(exit), container.n))


def set_log_offset(db: database.Database, n: int, offset: int) -> None:
    db.run(_SQL["log_offset"], (offset, n))


def alive(db: database.Database) -> list[Row]:
    rows = [Row(*row) for row in db.all(_SQL["alive"])]
    return [row._replace(phases=json.loads(str(row.phases)), gpus=tuple(json.loads(str(row.gpus)))) for row in rows]


def by_id(db: database.Database, identity: str) -> Past | None:
    row = db.one(_SQL["by_id"], (identity,))
    return Past(*row) if row else None
