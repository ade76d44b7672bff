"""``app.*`` and ``function.*``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import door
from windlass.server.apply import apps as actions
from windlass.server.apply import buckets as bucket_actions
from windlass.server.apply import calls, deployments, disk, environments, proxies
from windlass.server.apply import gpus as gpu_actions
from windlass.server.apply import logs as log_actions
from windlass.server.apply import nfs as nfs_actions
from windlass.server.apply import volumes as volume_actions
from windlass.server.decide import capacity, clusters, gpus, network, place, web
from windlass.server.state import machines, moves
from windlass.server.store import apps, records, secrets
from windlass.wire import peer, schedules
from windlass.wire.messages import apps as messages
from windlass.wire.messages import functions as function_messages

Core = door.Core
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_NAMED = 10  # names in a hint


def living(core: Core, app_id: str) -> machines.App:
    """The app, or why it cannot be used."""
    app = core.world.apps.get(app_id)
    if app is not None:
        return app
    if apps.by_id(core.db, app_id) is not None:
        raise exception.ConflictError(f"app {app_id} has stopped", hint="Run it again.")
    raise exception.NotFoundError(f"no app {app_id}")


def check_name(name: str | None) -> None:
    if name is not None and (not NAME.match(name) or ids.is_id(name, "ap")):
        raise exception.InvalidError(
            f"{name[:80]!r} is no name for an app", hint="Use 1-64 letters, digits, '-', '_', '.'."
        )


@door.handler("app.create", "app_id")
def create(core: Core, who: door.Who, body: messages.AppCreate, incoming: peer.Incoming) -> Any:
    if not ids.is_id(body["app_id"], "ap"):
        raise exception.InvalidError(f"not an app id: {body['app_id'][:60]!r}")
    check_name(body.get("name"))
    if who.container is not None and body.get("state") != "deployed":
        raise exception.PermissionDeniedError(
            "a container may not run an app of its own",
            hint="Look one up: App.lookup(name, create_if_missing=True); sandboxes need none in here.",
        )
    disk.check(core)
    app = core.world.apps.get(body["app_id"])
    if app is None:
        if apps.by_id(core.db, body["app_id"]) is not None:
            raise exception.ConflictError(f"app {body['app_id']} has stopped")
        app = _created(core, {**body, "environment": environments.named(core, body.get("environment"))}, who)
    return _info(core, app.id)


def _created(core: Core, body: messages.AppCreate, who: door.Who) -> machines.App:
    if body.get("state") == "deployed":
        name = body.get("name")
        if not name:
            raise exception.InvalidError("an app without a name cannot be deployed")
        known = deployments.named(core, name, body["environment"])
        if known is not None:
            return known
    core.turn.begin()
    return actions.create(core, body, who.client_id)


def _info(core: Core, app_id: str) -> messages.AppInfo:
    row = apps.by_id(core.db, app_id)
    if row is None:
        raise exception.NotFoundError(f"no app {app_id}")
    return info(core, row)


def info(core: Core, row: apps.Row, *, whole: bool = True) -> messages.AppInfo:
    """``whole``: with what handles need to know of its functions."""
    app = core.world.apps.get(row.id)
    running, layout, parts = 0, _layout(row), {}
    if app is not None:
        row = row._replace(state=app.state)
        running = sum(len(f.containers) for f in actions.functions_of(core, app))
        parts = deployments.parts(core, app) if whole else {}
    return actions.info(row, running, layout, parts)


def _layout(row: apps.Row) -> dict[str, str]:
    layout: dict[str, str] = door.decode(row.layout.encode())
    return layout


@door.handler("app.publish")
def publish(core: Core, who: door.Who, body: messages.AppPublish, incoming: peer.Incoming) -> Any:
    app = living(core, body["app_id"])
    if app.state == moves.AppState.DEPLOYED:
        raise exception.InvalidError(f"app {app.name!r} is deployed", hint="Its versions are published whole.")
    for identity in body["functions"].values():
        if identity not in core.world.functions:
            raise exception.NotFoundError(f"no function {identity} in app {app.id}")
    core.turn.begin()
    actions.publish(core, app, body["functions"])
    return {}


@door.handler("app.heartbeat")
def heartbeat(core: Core, who: door.Who, body: messages.AppRef, incoming: peer.Incoming) -> Any:
    living(core, body["app_id"]).heard_at = core.clock.now()
    return {}


@door.handler("app.stop", "app_id")
def stop(core: Core, who: door.Who, body: messages.AppStop, incoming: peer.Incoming) -> Any:
    app = core.world.apps.get(body["app_id"])
    if app is None:
        _info(core, body["app_id"])
        return {}
    core.turn.begin()
    reason = body.get("reason", "stopped")
    if app.state == moves.AppState.DETACHED and reason != "stopped":
        actions.leave(core, app)
    else:
        actions.stop(core, app, reason=reason, message=body.get("message", ""))
    return {}


@door.handler("app.get", "app")
def get(core: Core, who: door.Who, body: messages.AppLookup, incoming: peer.Incoming) -> Any:
    wanted = body["app"]
    if ids.is_id(wanted, "ap"):
        return _info(core, wanted)
    environment = environments.named(core, body.get("environment"))
    row = apps.by_name(core.db, wanted, environment, any_state=body.get("any_state", False))
    if row is None:
        raise exception.NotFoundError(
            f"no app {wanted!r} in environment {environment!r}", hint="`windlass app list` shows what there is."
        )
    return info(core, row)


@door.handler("app.list")
def listed(core: Core, who: door.Who, body: messages.AppList, incoming: peer.Incoming) -> Any:
    environment = body.get("environment")
    if environment:
        environments.row(core, environment)
    rows = apps.listed(core.db, environment or None, max(1, min(body.get("limit", 100), 1000)))
    return {"apps": [info(core, row, whole=False) for row in rows]}


@door.handler("app.logs")
def logs(core: Core, who: door.Who, body: messages.LogQuery, incoming: peer.Incoming) -> None:
    row = apps.by_id(core.db, _whose_logs(core, body))
    if row is None:
        raise exception.NotFoundError(f"no app {body.get('app_id', '')}")
    log_actions.Follower(core, row.n, row.id, body, incoming).start()


def _whose_logs(core: Core, body: messages.LogQuery) -> str:
    """The app that is meant, by the first of what names one."""
    if "app_id" in body:
        return body["app_id"]
    function: apps.FunctionRow | None = None
    if "container_id" in body:
        if (row := apps.by_container(core.db, body["container_id"])) is not None:
            return row.id
        raise exception.NotFoundError(f"no container {body['container_id']}")
    if "function_id" in body:
        function = apps.function_by_id(core.db, body["function_id"])
    elif "call_id" in body:
        call = calls.find(core, body["call_id"])
        n = records.function_of_call(core.db, body["call_id"]) if call is None else call.function.n
        function = None if n is None else apps.function_by_n(core.db, n)
    if function is None:
        raise exception.NotFoundError(f"no function or call {body.get('function_id') or body.get('call_id', '')}")
    return function.app_id


# -- functions


@door.handler("function.create")
def function_create(core: Core, who: door.Who, body: function_messages.FunctionCreate, incoming: peer.Incoming) -> Any:
    app, spec = living(core, body["app_id"]), body["spec"]
    function = core.world.functions.get(body["function_id"])
    if function is None:
        if not ids.is_id(body["function_id"], "fu"):
            raise exception.InvalidError(f"not a function id: {body['function_id'][:60]!r}")
        bucket_actions.bound(core, spec.get("buckets", []), is_owner=who.is_owner)
        check_spec(core, spec)
        core.turn.begin()
        function = actions.add_function(core, app, body["function_id"], spec)
    return actions.handle(core, function)


def check_spec(core: Core, spec: function_messages.FunctionSpec) -> None:
    """Refuse what no machine here can give."""
    actions.check_autoscaler(spec["autoscaler"])
    capacity.check(spec)
    clusters.check(spec, core.settings.max_containers)
    size = clusters.size(spec)
    web.check(spec)
    network.check(spec)
    if machines_now := core.world.workers.values():
        place.check_request(
            cpu=spec["cpu_request"],
            memory=spec["memory_request"] * size,
            cpus=max(worker.cpus for worker in machines_now),
            node_memory=max(worker.memory for worker in machines_now) // 1048576,
        )
        gpus.check(clusters.together(spec.get("gpus", []), size), [gpu_actions.of(worker) for worker in machines_now])
    if "schedule" in spec:
        schedules.check(spec["schedule"])
    volume_actions.check_mounts(core, spec.get("volumes", []))
    bucket_actions.check(core, spec.get("buckets", []), [one["path"] for one in spec.get("volumes", [])])
    nfs_actions.check_mounts(core, spec.get("nfs", []), spec.get("volumes", []))
    proxies.check(core, spec)
    for identity in spec["secrets"]:
        if secrets.by_id(core.db, identity) is None:
            raise exception.NotFoundError(f"no secret {identity}")


def function_of(core: Core, function_id: str) -> machines.Function:
    function = core.world.functions.get(function_id)
    if function is None:
        if apps.function_by_id(core.db, function_id) is not None:
            raise exception.ConflictError(f"the app of function {function_id} has stopped")
        raise exception.NotFoundError(f"no function {function_id}")
    return function


@door.handler("function.get")
def function_get(core: Core, who: door.Who, body: function_messages.FunctionGet, incoming: peer.Incoming) -> Any:
    if "function_id" in body:
        row = apps.function_by_id(core.db, body["function_id"])
        if row is None:
            raise exception.NotFoundError(f"no function {body['function_id']}")
        live = core.world.functions.get(row.id)
        return actions.about(row.id, row.app_id, row.spec) if live is None else actions.handle(core, live)
    name, tag = body.get("app_name", ""), body.get("tag", "")
    environment = environments.named(core, body.get("environment"))
    app = apps.by_name(core.db, name, environment, any_state=False)
    identity = _layout(app).get(tag) if app is not None else None
    if app is None or (identity is None and body.get("version") is None):
        named = f"class {tag.removesuffix('.*')!r}" if tag.endswith(".*") else f"function {tag!r}"
        what = f"{named} in app {name!r}" if app is not None else f"deployed app {name!r}"
        raise exception.NotFoundError(
            f"no {what} in environment {environment!r}", hint=_instead({} if app is None else _layout(app), tag)
        )
    if (version := body.get("version")) is not None:
        return actions.handle(core, deployments.pinned(core, living(core, app.id), tag, version))
    assert identity is not None
    return actions.handle(core, function_of(core, identity))


def _instead(layout: Mapping[str, str], tag: str) -> str:
    """The next step of whoever looks up a function or class that an app lacks."""
    name = tag.removesuffix(".*")
    if name != tag and name in layout:
        return f"{name!r} is a function: look it up by Function.from_name."
    if f"{name}.*" in layout:
        return f"{name!r} is a class: look it up by Cls.from_name."
    if not layout:
        return "Deploy it first."
    names = sorted({one.removesuffix(".*") for one in layout})
    return f"It has: {', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}."


@door.handler("function.stats")
def function_stats(core: Core, who: door.Who, body: function_messages.FunctionRef, incoming: peer.Incoming) -> Any:
    function = function_of(core, body["function_id"])
    allowed = capacity.of(function.spec, function.seconds, function.autoscaler)
    ready = [c for c in function.containers.values() if c.state == moves.ContainerState.READY]
    return {
        "backlog": function.queued + len(function.delayed),
        "num_total_runners": len(function.containers),
        "num_running_inputs": function.running,
        "input_headroom": sum(max(0, capacity.within(allowed, c.slots).most - len(c.held)) for c in ready),
    }


@door.handler("function.autoscaler", "function_id")
def function_autoscaler(
    core: Core, who: door.Who, body: function_messages.AutoscalerUpdate, incoming: peer.Incoming
) -> Any:
    function = function_of(core, body["function_id"])
    core.turn.begin()
    return actions.set_autoscaler(core, function, body)
