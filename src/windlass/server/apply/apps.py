"""The life of apps and their functions."""

from __future__ import annotations

import json
from typing import Any

from windlass import exception
from windlass.server.apply import builds, cancel, containers, firings, records, sandboxes, variants, web
from windlass.server.apply import core as core_module
from windlass.server.apply import logs as log_actions
from windlass.server.decide import variants as variant_decisions
from windlass.server.decide import web as decisions
from windlass.server.state import machines, moves
from windlass.server.store import apps, calls, secrets
from windlass.wire.messages import apps as app_messages
from windlass.wire.messages import functions as function_messages

Core = core_module.Core
STATES = {
    "ephemeral": moves.AppState.EPHEMERAL,
    "detached": moves.AppState.DETACHED,
    "deployed": moves.AppState.DEPLOYED,
}


def create(core: Core, request: app_messages.AppCreate, client: str | None) -> machines.App:
    """Record an app that a client has begun to build."""
    state = STATES.get(request.get("state", "ephemeral"))
    if state is None:
        raise exception.InvalidError(f"unknown state of an app: {request.get('state')!r}")
    app = machines.App(
        n=apps.next_n(core.db),
        identity=request["app_id"],
        name=request.get("name"),
        environment=request.get("environment") or core.settings.environment,
        state=state,
    )
    app.description, app.client = request.get("description", ""), client
    if suffix := request.get("dev_suffix", ""):
        decisions.check_suffix(suffix)
        app.dev_suffix = suffix
    app.created_at = app.heard_at = core.clock.now()
    app.published = state == moves.AppState.DEPLOYED
    apps.insert(core.db, app, request.get("tags") or {})
    if app.published:
        apps.publish(core.db, app)
    core.world.apps[app.id] = app
    return app


def add_function(
    core: Core, app: machines.App, identity: str, spec: function_messages.FunctionSpec
) -> machines.Function:
    function = machines.Function(
        n=apps.next_function(core.db),
        identity=identity,
        app=app,
        spec=spec,
        autoscaler=variant_decisions.bounds(spec, is_variant=False),
    )
    apps.insert_function(core.db, function)
    variants.remember(core, function)
    core.web.changed()
    return function


def handle(core: Core, function: machines.Function) -> function_messages.FunctionInfo:
    """What callers and containers need to know of a function."""
    info = about(function.id, function.app.id, function.spec)
    if urls := web.urls(core, function):
        info["web_urls"] = urls
    if function.variant_of is not None:
        info["variant_of"] = function.variant_of.id
    return info


def about(function_id: str, app_id: str, spec: function_messages.FunctionSpec) -> function_messages.FunctionInfo:
    """The same of a function that is only a row."""
    info: function_messages.FunctionInfo = {
        "function_id": function_id,
        "app_id": app_id,
        "tag": spec["tag"],
        "is_generator": spec["is_generator"],
    }
    if spec.get("class_name"):
        info["class_name"], info["methods"] = spec["class_name"], spec.get("methods", {})
        info["parameters"] = spec.get("parameters", [])
    return info


def publish(core: Core, app: machines.App, layout: dict[str, str]) -> None:
    """From now on the app's containers may start."""
    app.layout, app.published = layout, True
    apps.publish(core.db, app)
    for function in core.world.functions.values():
        if function.app is app:
            core.turn.dispatch[function] = None
    core.scheduler.set()


def tags(core: Core, app: machines.App) -> dict[str, str]:
    row = apps.by_id(core.db, app.id)
    found: dict[str, str] = json.loads(row.tags) if row is not None else {}
    return found


def functions_of(core: Core, app: machines.App) -> list[machines.Function]:
    return [function for function in core.world.functions.values() if function.app is app]


def leave(core: Core, app: machines.App) -> None:
    """The client of a detached app is done: it stops after its last input."""
    if not app.draining:
        app.draining = True
        apps.drain(core.db, app)
    stop_if_drained(core, app)


def stop_if_drained(core: Core, app: machines.App) -> None:
    if sandboxes.of_app(core, app.id):
        return
    core.turn.flush()
    if app.alive and app.draining and not any(calls.any_open(core.db, f.n) for f in functions_of(core, app)):
        stop(core, app, reason="done", message="")


def stop(core: Core, app: machines.App, *, reason: str, message: str) -> None:
    """Terminate its inputs, stop its containers. It is stopped when the last container is gone."""
    if not app.alive:
        return
    app.state, app.reason, app.message = moves.AppState.STOPPING, reason, message[:1000]
    apps.stopping(core.db, app)
    core.web.changed()
    sandboxes.app_stopped(core, app)
    for function in functions_of(core, app):
        firings.end(core, function)
        cancel.cancel_function(core, function, "the app was stopped")
        for container in list(function.containers.values()):
            if container.peer is None:
                containers.kill(core, container, "the app was stopped", say=False)
            else:
                containers.stop(core, container, graceful=False, why="the app was stopped")
    stopped_if_empty(core, app)


def stopped_if_empty(core: Core, app: machines.App) -> None:
    """The last step of an app's life."""
    functions = functions_of(core, app)
    if app.alive or app.state == moves.AppState.STOPPED:
        return
    if any(f.containers or f.n in core.world.emptying for f in functions):
        return
    app.state = moves.AppState.STOPPED
    core.turn.begin()
    apps.stopped(core.db, app, core.clock.now())
    secrets.forget_app(core.db, app.id)
    builds.forget_scope(core, app.id)
    core.world.apps.pop(app.id, None)
    core.world.pools.pop(app.id, None)
    for function in functions:
        records.put(core, function)
        core.world.functions.pop(function.id, None)
        core.world.functions_by_n.pop(function.n, None)
    log_actions.tell_later(core, app.n)


def info(
    row: apps.Row, running: int, layout: dict[str, str], parts: dict[str, function_messages.FunctionInfo]
) -> app_messages.AppInfo:
    return {
        "app_id": row.id,
        "name": row.name,
        "description": row.description,
        "state": moves.APP_NAMES[moves.AppState(row.state)],
        "containers": running,
        "created_at": row.created_at,
        "stopped_at": row.stopped_at,
        "functions": layout,
        "environment": row.environment,
        "version": row.version,
        "tags": json.loads(row.tags),
        "parts": parts,
    }


def silent(core: Core, now: float) -> None:
    """Stop ephemeral apps whose client is gone; let detached ones drain."""
    for app in list(core.world.apps.values()):
        patience = core.settings.app_silence
        if app.client in core.world.remote:
            patience = max(patience, core.settings.remote_keep)
        if not app.alive or now - app.heard_at <= patience:
            continue
        if app.state == moves.AppState.EPHEMERAL:
            core.turn.begin()
            stop(core, app, reason="interrupted", message="its client has gone")
        elif app.state == moves.AppState.DETACHED and not app.draining:
            core.turn.begin()
            leave(core, app)


def set_autoscaler(core: Core, function: machines.Function, changes: Any) -> function_messages.AutoscalerSpec:
    """Override some of a function's autoscaler settings."""
    current = function.autoscaler
    new: function_messages.AutoscalerSpec = {
        "min_containers": changes.get("min_containers", current["min_containers"]),
        "max_containers": changes.get("max_containers", current["max_containers"]),
        "buffer_containers": changes.get("buffer_containers", current["buffer_containers"]),
        "scaledown_window": changes.get("scaledown_window", current["scaledown_window"]),
    }
    if "target_concurrency" in current:  # of a server
        new["target_concurrency"] = changes.get("target_concurrency", current["target_concurrency"])
        new["scaleup_window"] = changes.get("scaleup_window", current.get("scaleup_window", 0.0))
    elif changes.keys() & {"target_concurrency", "scaleup_window"}:
        raise exception.InvalidError("target_concurrency and scaleup_window are for servers")
    check_autoscaler(new)
    if new == current:
        return new
    function.autoscaler = new
    apps.set_autoscaler(core.db, function)
    core.scheduler.set()
    return new


def check_autoscaler(spec: function_messages.AutoscalerSpec) -> None:
    if min(spec["min_containers"], spec["max_containers"], spec["buffer_containers"]) < 0:
        raise exception.InvalidError("min_containers, max_containers and buffer_containers must not be negative")
    if 0 < spec["max_containers"] < spec["min_containers"]:
        raise exception.InvalidError(
            f"max_containers={spec['max_containers']} is less than min_containers={spec['min_containers']}"
        )
    if spec.get("target_concurrency", 1) < 1 or not 0 <= spec.get("scaleup_window", 0.0) <= 3600:
        raise exception.InvalidError("target_concurrency must be at least 1, scaleup_window within 0 and 3600 seconds")
    if not 0 <= spec["scaledown_window"] <= 3600:
        raise exception.InvalidError(f"scaledown_window={spec['scaledown_window']:g} must be within 0 and 3600 seconds")
