"""Web functions: their labels and URLs, and the call that each request is."""

from __future__ import annotations

import pickle

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.decide import web as decisions
from windlass.server.state import machines, moves
from windlass.server.state import web as state
from windlass.server.store import environments
from windlass.wire.messages import functions

Core = core_module.Core
DEV = "dev"


def routes(core: Core) -> dict[str, state.Route]:
    """By label, of all apps that live. Where two ephemeral apps want one label, the newer one has it."""
    if core.web.routes is None:
        core.web.routes, core.web.domains = {}, {}
        for function in core.world.functions.values():
            if function.app.alive and not function.removed and function.variant_of is None and function.pin is None:
                for route in _of(core, function.app, function):
                    core.web.routes[route.label] = route
                    core.web.domains.update(dict.fromkeys(route.web["custom_domains"], route))
    return core.web.routes


def _of(core: Core, app: machines.App, function: machines.Function) -> list[state.Route]:
    webs = decisions.webs(function.spec)
    return [
        state.Route(_label(core, app.environment, app, function.spec["tag"], name, web), function, name, web)
        for name, web in webs.items()
    ]


def _label(
    core: Core, environment: str, app: machines.App, tag: str, method: str, web: functions.WebSpec
) -> str:
    dev = "" if app.state == moves.AppState.DEPLOYED else DEV
    return label(core, environment, app.name or app.description or app.id, tag, method, web, dev=dev)


def label(
    core: Core, environment: str, app_name: str, tag: str, method: str, web: functions.WebSpec, *, dev: str
) -> str:
    row = environments.by_name(core.db, environment)
    suffix = "" if row is None or environment == core.settings.environment else row.web_suffix
    return decisions.host_label(core.settings.workspace, suffix, app_name, tag, method, web, dev=dev)


def urls(core: Core, function: machines.Function) -> dict[str, str]:
    """Where a function answers requests, by method."""
    base = function.variant_of or function
    return {route.method: url(core, route.label) for route in _of(core, base.app, base)} if core.web.port > 0 else {}


def url(core: Core, host_label: str) -> str:
    return f"http://{host_label}.localhost:{core.web.port}"


def check(
    core: Core, app: machines.App | None, name: str, environment: str, parts: dict[str, functions.FunctionSpec]
) -> None:
    """Refuse a deployment that wants a label which another deployed app, or another of its own functions, has."""
    mine: dict[str, str] = {}
    for tag, spec in parts.items():
        decisions.check(spec)
        for method, web in decisions.webs(spec).items():
            shown = f"{tag.removesuffix('.*')}.{method}" if method else tag
            wanted = label(core, environment, name, tag, method, web, dev="")
            if wanted in mine:
                raise decisions.taken(wanted, f"function {shown!r}", f"function {mine[wanted]!r}")
            mine[wanted] = shown
            other = routes(core).get(wanted)
            if other is not None and other.function.app is not app:
                raise decisions.taken(
                    wanted, f"function {shown!r} of app {name!r}",
                    f"function {other.function.tag!r} of app {other.function.app.name!r}",
                )  # fmt: skip


def payload(head: bytes, body: bytes | None) -> bytes:
    """The arguments of a web function's input. (Written here, never read: only runners unpickle.)"""
    return pickle.dumps(((head,) if body is None else (head, body), {}), 4)


def ready(core: Core, route: state.Route) -> None:
    """Refuse what cannot begin now."""
    if core.low_disk:
        raise exception.ResourceExhaustedError(core.low_disk)
