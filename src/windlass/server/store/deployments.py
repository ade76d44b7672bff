"""Rows of versions: what a published app consisted of, and every spec that its functions have had."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from windlass.server.state import machines
from windlass.server.store import database
from windlass.wire.messages import deployments, functions

_SQL = database.queries("deployments")


class Row(NamedTuple):
    """``layout``: id and generation of each function by tag."""

    version: int
    deploy_id: str
    deployed_at: float
    layout: dict[str, tuple[str, int]]
    facts: deployments.Facts


def _row(row: tuple[Any, ...]) -> Row:
    version, deploy_id, deployed_at, layout, facts = row
    pairs = {tag: (identity, generation) for tag, (identity, generation) in json.loads(layout).items()}
    return Row(version, deploy_id, deployed_at, pairs, json.loads(facts))


def insert(db: database.Database, app: machines.App, row: Row) -> None:
    layout, facts = json.dumps(row.layout), json.dumps(row.facts)
    db.run(_SQL["insert"], (app.n, row.version, row.deploy_id, row.deployed_at, layout, facts))


def by_version(db: database.Database, app: int, version: int) -> Row | None:
    row = db.one(_SQL["by_version"], (app, version))
    return _row(row) if row else None


def at(db: database.Database, app: int, time: float) -> Row | None:
    """The version that was current then."""
    row = db.one(_SQL["at"], (app, time))
    return _row(row) if row else None


def history(db: database.Database, app: int) -> list[tuple[int, float]]:
    """Number and time of each version, newest first."""
    return list(db.all(_SQL["history"], (app,)))


def delete(db: database.Database, app: int, versions: Iterable[int]) -> None:
    for version in versions:
        db.run(_SQL["delete"], (app, version))


def spec_keys(db: database.Database, app: int) -> set[tuple[int, int]]:
    """Number and generation of each function of which there is a spec."""
    return set(db.all(_SQL["spec_keys"], (app,)))


def delete_specs(db: database.Database, keys: Iterable[tuple[int, int]]) -> None:
    for key in keys:
        db.run(_SQL["delete_spec"], key)


def of_app(db: database.Database, app: int) -> list[Row]:
    """Newest first."""
    return [_row(row) for row in db.all(_SQL["of_app"], (app,))]


def forget(db: database.Database, app: int) -> None:
    db.run(_SQL["forget"], (app,))
    db.run(_SQL["forget_specs"], (app,))


def set_app(db: database.Database, app: machines.App, tags: dict[str, str]) -> None:
    db.run(_SQL["app_changed"], (app.version, app.local_name, json.dumps(tags), app.n))


def set_function(db: database.Database, function: machines.Function) -> None:
    """The row, and one more spec to come back to; those of variants follow. Overrides of the autoscaler end."""
    spec = json.dumps(function.spec)
    db.run(_SQL["function_changed"], (spec, function.generation, function.removed, function.n))
    if function.variant_of is None:
        keep_spec(db, function)


def keep_spec(db: database.Database, function: machines.Function) -> None:
    db.run(_SQL["insert_spec"], (function.n, function.generation, json.dumps(function.spec)))


def images(db: database.Database) -> set[str]:
    """Those that versions of living apps have had: somebody may come back to them."""
    return {image_id for (image_id,) in db.all(_SQL["images"])}


def spec(db: database.Database, function: int, generation: int) -> functions.FunctionSpec | None:
    row = db.one(_SQL["spec"], (function, generation))
    found: functions.FunctionSpec | None = json.loads(row[0]) if row else None
    return found


def pinned(db: database.Database, app: int, tag: str, version: int) -> str | None:
    """The function that stays with ``version``."""
    row = db.one(_SQL["pinned"], (app, tag, version))
    return row[0] if row else None


def pin(db: database.Database, function: machines.Function) -> None:
    db.run(_SQL["pin"], (function.pin, function.n))
