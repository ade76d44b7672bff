"""Rows of apps and their functions."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from windlass.server.state import machines, moves
from windlass.server.store import database, deployments
from windlass.wire.messages import functions

_SQL = database.queries("apps")


class Row(NamedTuple):
    """An app as listed, whether it lives or not."""

    n: int
    id: str
    name: str | None
    environment: str
    description: str
    state: int
    layout: str
    created_at: float
    stopped_at: float | None
    version: int
    tags: str


class FunctionRow(NamedTuple):
    n: int
    id: str
    app_id: str
    tag: str
    spec: functions.FunctionSpec


def insert(db: database.Database, app: machines.App, tags: dict[str, str]) -> None:
    db.run(
        _SQL["insert"],
        {
            "n": app.n,
            "id": app.id,
            "name": app.name,
            "local_name": app.local_name,
            "environment": app.environment,
            "description": app.description,
            "state": app.state,
            "client": app.client,
            "tags": json.dumps(tags),
            "created_at": app.created_at,
            "dev_suffix": app.dev_suffix,
        },
    )


def next_n(db: database.Database) -> int:
    return int(db.all(_SQL["next_n"])[0][0])


def publish(db: database.Database, app: machines.App) -> None:
    db.run(_SQL["publish"], (json.dumps(app.layout), app.state, app.n))


def drain(db: database.Database, app: machines.App) -> None:
    db.run(_SQL["drain"], (app.n,))


def stopping(db: database.Database, app: machines.App) -> None:
    db.run(_SQL["stopping"], (app.reason, app.message, app.n))


def stopped(db: database.Database, app: machines.App, now: float) -> None:
    db.run(_SQL["stopped"], (now, app.n))


def live(db: database.Database) -> list[machines.App]:
    """All apps that have not stopped, with ``heard_at`` still to be set."""
    apps = []
    for (
        n,
        identity,
        name,
        environment,
        description,
        state,
        client,
        published,
        layout,
        draining,
        created_at,
        why,
        text,
        version,
        local_name,
        dev_suffix,
    ) in db.all(_SQL["live"]):
        app = machines.App(n=n, identity=identity, name=name, environment=environment, state=moves.AppState(state))
        app.description, app.client, app.published = description, client, bool(published)
        app.layout, app.draining, app.created_at = json.loads(layout), bool(draining), created_at
        app.reason, app.message = why, text
        app.version, app.local_name, app.dev_suffix = version, local_name, dev_suffix
        apps.append(app)
    return apps


def by_id(db: database.Database, identity: str) -> Row | None:
    row = db.one(_SQL["by_id"], (identity,))
    return Row(*row) if row else None


def by_container(db: database.Database, container_id: str) -> Row | None:
    """The app of a container, also of one that is gone."""
    row = db.one(_SQL["by_container"], (container_id,))
    return Row(*row) if row else None


def by_name(db: database.Database, name: str, environment: str, *, any_state: bool) -> Row | None:
    row = db.one(_SQL["by_name"], {"name": name, "environment": environment, "any": any_state})
    return Row(*row) if row else None


def listed(db: database.Database, environment: str | None, limit: int) -> list[Row]:
    """Living ones first, newest first."""
    return [Row(*row) for row in db.all(_SQL["list"], {"environment": environment, "limit": limit})]


def expired(db: database.Database, before: float) -> list[int]:
    return [n for (n,) in db.all(_SQL["expired"], (before,))]


def delete(db: database.Database, n: int) -> bool:
    """Forget a stopped app; False while more of its log is left to delete."""
    if db.run(_SQL["delete_logs"], (n,)).rowcount:
        return False
    db.run(_SQL["delete_containers"], (n,))
    deployments.forget(db, n)
    db.run(_SQL["delete_functions"], (n,))
    db.run(_SQL["delete"], (n,))
    return True


def next_function(db: database.Database) -> int:
    return int(db.all(_SQL["next_function"])[0][0])


def insert_function(db: database.Database, function: machines.Function) -> None:
    base = function.variant_of
    db.run(
        _SQL["insert_function"],
        (
            function.n,
            function.id,
            function.app.n,
            function.tag,
            json.dumps(function.spec),
            None if base is None else base.n,
            function.variant_key or None,
            function.parameters,
            json.dumps(function.overrides),
        ),
    )


class LiveFunction(NamedTuple):
    """A function of a living app. ``autoscaler``: what was set after it was made, or None."""

    n: int
    id: str
    app_id: str
    spec: Any
    autoscaler: Any
    generation: int
    removed: bool
    pin: int | None
    variant_of: int | None
    variant_key: str | None
    parameters: str
    overrides: Any


def functions_of_live(db: database.Database) -> list[LiveFunction]:
    """Every function of a living app, bases before their variants."""
    rows = [LiveFunction(*row) for row in db.all(_SQL["functions_of_live"])]
    return [
        row._replace(
            spec=json.loads(row.spec),
            autoscaler=json.loads(row.autoscaler) if row.autoscaler else None,
            removed=bool(row.removed),
            overrides=json.loads(row.overrides),
        )
        for row in rows
    ]


def _function(row: tuple[Any, ...]) -> FunctionRow:
    n, identity, app_id, tag, spec = row
    return FunctionRow(n, identity, app_id, tag, json.loads(spec))


def function_by_id(db: database.Database, identity: str) -> FunctionRow | None:
    row = db.one(_SQL["function_by_id"], (identity,))
    return _function(row) if row else None


def function_by_n(db: database.Database, n: int) -> FunctionRow | None:
    row = db.one(_SQL["function_by_n"], (n,))
    return _function(row) if row else None


def set_autoscaler(db: database.Database, function: machines.Function) -> None:
    db.run(_SQL["autoscaler"], (json.dumps(function.autoscaler), function.n))


class Past(NamedTuple):
    """A function and where it belongs, whether its app lives or not. ``version``: of the app, 0 where it has none."""

    n: int
    id: str
    app_id: str
    app: int
    app_name: str | None
    description: str
    environment: str
    layout: dict[str, str]
    tag: str
    spec: functions.FunctionSpec
    base_id: str | None
    base_tag: str | None
    parameters: str
    overrides: functions.FunctionOverrides
    version: int
    pin: int | None


def function_past(db: database.Database, n: int) -> Past | None:
    row = db.one(_SQL["function_past"], (n,))
    if row is None:
        return None
    found = Past(*row)
    return found._replace(
        layout=json.loads(str(found.layout)),
        spec=json.loads(str(found.spec)),
        overrides=json.loads(str(found.overrides)),
    )


def specs_of_app(db: database.Database, app: int) -> list[tuple[str, str, functions.FunctionSpec]]:
    """(id, tag, spec) of all that are no variants."""
    return [(identity, tag, json.loads(spec)) for identity, tag, spec in db.all(_SQL["specs_of_app"], (app,))]


def variants_of(db: database.Database, n: int) -> list[str]:
    return [identity for (identity,) in db.all(_SQL["variants_of"], (n,))]


def clear_autoscaler(db: database.Database, function: machines.Function) -> None:
    """Its spec decides again."""
    db.run(_SQL["autoscaler"], (None, function.n))


def set_tags(db: database.Database, n: int, tags: dict[str, str]) -> None:
    db.run(_SQL["set_tags"], (json.dumps(tags), n))
