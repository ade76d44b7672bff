"""``app.deploy``, ``app.return``, ``app.history`` and ``app.tags``."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import apps, door
from windlass.server.apply import buckets, disk
from windlass.server.apply import deployments as actions
from windlass.server.state import machines, moves
from windlass.server.store import apps as app_rows
from windlass.server.store import deployments
from windlass.wire import peer
from windlass.wire.messages import apps as app_messages
from windlass.wire.messages import deployments as messages

Core = door.Core
_STRATEGIES = ("rolling", "recreate")
_TAG = 50


@door.handler("app.deploy", "app_id", "deploy_id", "functions")
def deploy(core: Core, who: door.Who, body: messages.AppDeploy, incoming: peer.Incoming) -> Any:
    if not ids.is_id(body["app_id"], "ap"):
        raise exception.InvalidError(f"not an app id: {body['app_id'][:60]!r}")
    _check(body.get("strategy", "rolling"), body.get("facts") or {})
    apps.check_name(body.get("name"))
    app = core.world.apps.get(body["app_id"])
    if (app is None or not app.alive) and app_rows.by_id(core.db, body["app_id"]) is not None:
        raise exception.ConflictError(f"app {body['app_id']} has stopped", hint="Deploy again.")
    disk.check(core)
    for part in body["functions"].values():
        if not ids.is_id(part["function_id"], "fu"):
            raise exception.InvalidError(f"not a function id: {part['function_id'][:60]!r}")
        buckets.bound(core, part["spec"].get("buckets", []), is_owner=who.is_owner)
        apps.check_spec(core, part["spec"])
    return actions.deploy(core, body, who.client_id)


def _check(strategy: str, facts: messages.Facts) -> None:
    if strategy not in _STRATEGIES:
        raise exception.InvalidError(
            f"{strategy[:60]!r} is no strategy of a deployment", hint=f"There are: {', '.join(_STRATEGIES)}."
        )
    tag = facts.get("tag", "")
    if tag and (len(tag) > _TAG or not apps.NAME.match(tag)):
        raise exception.InvalidError(
            f"{tag[:80]!r} is no tag of a deployment", hint="Use up to 50 letters, digits, '-', '_', '.'."
        )


@door.handler("app.return", "app_id", "deploy_id")
def bring_back(core: Core, who: door.Who, body: messages.AppReturn, incoming: peer.Incoming) -> Any:
    _check(body.get("strategy", "rolling"), body.get("facts") or {})
    return actions.bring_back(core, _deployed(core, body["app_id"]), body)


def _deployed(core: Core, app_id: str) -> machines.App:
    app = apps.living(core, app_id)
    if app.state != moves.AppState.DEPLOYED:
        raise exception.InvalidError(
            f"app {app.name or app.description or app_id!r} is not deployed", hint="Only deployed apps have versions."
        )
    return app


@door.handler("app.history")
def history(core: Core, who: door.Who, body: app_messages.AppRef, incoming: peer.Incoming) -> Any:
    row = app_rows.by_id(core.db, body["app_id"])
    if row is None:
        raise exception.NotFoundError(f"no app {body['app_id']}")
    return {
        "versions": [
            {"version": one.version, "deployed_at": one.deployed_at, "facts": one.facts}
            for one in deployments.of_app(core.db, row.n)
        ]
    }


@door.handler("app.tags", "app_id")
def tags(core: Core, who: door.Who, body: messages.AppTags, incoming: peer.Incoming) -> Any:
    row = app_rows.by_id(core.db, body["app_id"])
    if row is None:
        raise exception.NotFoundError(f"no app {body['app_id']}")
    if "tags" not in body:
        return {"tags": door.decode(row.tags.encode())}
    apps.living(core, body["app_id"])
    core.turn.begin()
    app_rows.set_tags(core.db, row.n, body["tags"])
    return {"tags": body["tags"]}
