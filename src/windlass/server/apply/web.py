"""Web functions: their labels and URLs, and the call that each request is."""

from __future__ import annotations

import hashlib
import hmac
import pickle
import secrets
from typing import Any
from urllib import parse

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import containers as container_actions
from windlass.server.apply import core as core_module
from windlass.server.apply import environments as environment_actions
from windlass.server.apply import variants
from windlass.server.apply import work as work_actions
from windlass.server.decide import attempts, capacity, sessions
from windlass.server.decide import web as decisions
from windlass.server.objects import certificate
from windlass.server.state import machines, moves, work
from windlass.server.state import web as state
from windlass.server.store import environments
from windlass.server.store import web as store
from windlass.wire import parameters
from windlass.wire.messages import functions
from windlass.wire.messages import web as messages

Core = core_module.Core


def routes(core: Core) -> dict[str, state.Route]:
    """By label, of all apps that live. Where two ephemeral apps want one label, the newer one has it."""
    if core.web.routes is None:
        core.web.routes, core.web.domains = {}, {}
        for identity in core.web.sessions.keys() - core.world.functions.keys():
            del core.web.sessions[identity]
        registered = store.domains(core.db)
        for function in core.world.functions.values():
            if function.app.alive and not function.removed and function.variant_of is None and function.pin is None:
                for route in _of(core, function.app, function):
                    core.web.routes[route.label] = route
                    _give_domains(core, route, registered)
    return core.web.routes


def _give_domains(core: Core, route: state.Route, registered: dict[str, float]) -> None:
    """An ephemeral app has a domain only where no deployed one does."""
    domains = core.web.domains
    for domain in route.web["custom_domains"]:
        held = domains.get(domain)
        if decisions.registered(domain, registered) and (held is None or _outranks(route, held)):
            domains[domain] = route


def _outranks(route: state.Route, held: state.Route) -> bool:
    deployed = moves.AppState.DEPLOYED
    return route.function.app.state == deployed or held.function.app.state != deployed


def _of(core: Core, app: machines.App, function: machines.Function) -> list[state.Route]:
    webs = decisions.webs(function.spec)
    return [
        state.Route(_label(core, app.environment, app, function.spec["tag"], name, web), function, name, web)
        for name, web in webs.items()
    ]


def _label(
    core: Core, environment: str, app: machines.App, tag: str, method: str, web: functions.WebSpec
) -> str:
    dev = "" if app.state == moves.AppState.DEPLOYED else app.dev_suffix
    return label(core, environment, app.name or app.description or app.id, tag, method, web, dev=dev)


def label(
    core: Core, environment: str, app_name: str, tag: str, method: str, web: functions.WebSpec, *, dev: str
) -> str:
    row = environments.by_name(core.db, environment)
    suffix = "" if row is None else row.web_suffix
    return decisions.host_label(core.settings.workspace, suffix, app_name, tag, method, web, dev=dev)


def urls(core: Core, function: machines.Function) -> dict[str, str]:
    """Where a function answers requests, by method."""
    base = function.variant_of or function
    return {route.method: url(core, route.label) for route in _of(core, base.app, base)} if core.web.port > 0 else {}


def url(core: Core, host_label: str) -> str:
    if core.web.outside is not None:
        return f"{core.web.outside.front}{host_label}{core.web.outside.back}"
    if core.settings.web_name:
        return f"http://{core.settings.web_name}:{core.web.port}/~{host_label}"
    if core.settings.web_url == "https" and core.web.tls_port:
        return f"https://{host_label}.localhost:{core.web.tls_port}"
    return f"http://{host_label}.localhost:{core.web.port}"


def front(core: Core) -> tuple[str, bool]:
    """The host at which visitors find the ports of containers, and whether they come without TLS, because nobody
    vouches for the certificate that they would see."""
    if not core.settings.web_name:
        return "127.0.0.1", True
    files = certificate.shown(core.settings)
    if files is not None and core.settings.public_host and not certificate.pinned(files[0]):
        return core.settings.public_host, False
    return core.settings.web_name.strip("[]"), True


def check(
    core: Core, app: machines.App | None, name: str, environment: str, parts: dict[str, functions.FunctionSpec]
) -> None:
    """Refuse a version that wants a label which another of its functions has, or, deployed, another deployed app."""
    mine: dict[str, str] = {}
    deployed = app is None or app.state == moves.AppState.DEPLOYED
    for tag, spec in parts.items():
        decisions.check(spec)
        for method, web in decisions.webs(spec).items():
            shown = f"{tag.removesuffix('.*')}.{method}" if method else tag
            wanted = label(core, environment, name, tag, method, web, dev="")
            if wanted in mine:
                raise decisions.taken(wanted, f"function {shown!r}", f"function {mine[wanted]!r}")
            mine[wanted] = shown
            other = routes(core).get(wanted) if deployed else None
            if other is not None and other.function.app is not app:
                raise decisions.taken(
                    wanted, f"function {shown!r} of app {name!r}",
                    f"function {other.function.tag!r} of app {other.function.app.name!r}",
                )  # fmt: skip


            for domain in web["custom_domains"]:
                _check_domain(core, app, domain, shown)


def _check_domain(core: Core, app: machines.App | None, domain: str, shown: str) -> None:
    if not decisions.registered(domain, store.domains(core.db)):
        raise exception.InvalidError(
            f"the domain {domain!r} of function {shown!r} is not registered",
            hint=f"Run `windlass domain add {domain}`, and let its DNS record point here.",
        )
    other = core.web.domains.get(domain)
    if other is not None and other.function.app is not app and other.function.app.state == moves.AppState.DEPLOYED:
        raise exception.ConflictError(f"the domain {domain!r} belongs to app {other.function.app.name!r} already")


# -- what clients show


def create_token(core: Core, body: messages.ProxyTokenCreate) -> messages.ProxyTokenCreated:
    wanted = body.get("environments") or []
    for name in wanted:
        environment_actions.row(core, name)
    identity, secret = ids.new("wk"), "ws-" + secrets.token_urlsafe(24)
    core.turn.begin()
    digest = hashlib.sha256(secret.encode()).hexdigest()
    store.insert_token(
        core.db,
        store.Token(identity, body.get("name", "")[:100], digest, wanted, core.clock.now(), body.get("by", "")[:100]),
    )
    core.web.tokens = None
    return {"token_id": identity, "secret": secret}


def revoke_token(core: Core, identity: str) -> None:
    if identity not in _tokens(core):
        raise exception.NotFoundError(f"no proxy token {identity[:60]!r}")
    core.turn.begin()
    store.delete_token(core.db, identity)
    core.web.tokens = None


def _tokens(core: Core) -> dict[str, tuple[str, list[str]]]:
    if core.web.tokens is None:
        core.web.tokens = {one.id: (one.digest, one.environments) for one in store.tokens(core.db)}
    return core.web.tokens


def admits(core: Core, environment: str, identity: str, secret: str) -> bool | None:
    """Whether a token opens functions of ``environment``; None where there is no such token."""
    digest, environments = _tokens(core).get(identity, ("", []))
    shown = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    if not hmac.compare_digest(shown, digest):
        return None
    return not environments or environment in environments


def holders(core: Core, name: str) -> list[state.Route]:
    """What answers at a registered domain, or at those below it."""
    routes(core)
    return [
        route for domain, route in core.web.domains.items() if name in (domain, f"*.{domain.partition('.')[2]}")
    ]  # fmt: skip


def add_domain(core: Core, name: str) -> None:
    if len(name) > 253 or not decisions.DOMAIN.match(name):
        raise exception.InvalidError(f"{name[:80]!r} is no domain", hint="Like api.example.org, or *.example.org.")
    core.turn.begin()
    store.insert_domain(core.db, name, core.clock.now())
    core.web.changed()


def remove_domain(core: Core, name: str) -> None:
    if name not in store.domains(core.db):
        raise exception.NotFoundError(f"the domain {name[:80]!r} is not registered")
    core.turn.begin()
    store.delete_domain(core.db, name)
    core.web.changed()


# -- requests


def pool(core: Core, route: state.Route, query: str) -> machines.Function:
    """The function that answers: of a class with parameters, the variant that the query names.

    Raises ``InvalidError`` for values that do not fit.
    """
    schema = route.function.spec.get("parameters", [])
    if not schema:
        return route.function
    text = parameters.encode(schema, _values(schema, dict(parse.parse_qsl(query, keep_blank_values=True))))
    found = variants.find(core, route.function, text, {})
    if isinstance(found, variants.Wanted):
        core.turn.begin()
        found = variants.make(core, found)
    return found


def container(core: Core, function: machines.Function, session: str) -> machines.Container | bool:
    """Of a server: the container for a request. Without one, whether all are full; more are then started."""
    ready = [c for c in function.containers.values() if c.state == moves.ContainerState.READY and c.peer is not None]
    if function.rolling:
        ready = [c for c in ready if not c.outdated] or ready
    allowed = capacity.of(function.spec, function.seconds, function.autoscaler)
    candidates = [sessions.Candidate(c.id, _unanswered(c, allowed.most), allowed.most) for c in ready]
    places = core.web.sessions.setdefault(function.id, sessions.Sessions())
    chosen = places.choose(candidates, session)
    if chosen is not None:
        return function.containers[chosen]
    function.last_active = core.clock.now()
    if not ready:
        function.knocked_at = function.last_active
        core.scheduler.set()
    return bool(ready)


def _unanswered(container: machines.Container, most: int) -> int:
    """How many requests a container has. One that seems full is looked at closely: a client that has its response asks
    again before the runner has said that the request is over."""
    held = len(container.held)
    return held if held < most else sum(not item.answered for item in container.held.values())


def _values(schema: list[functions.ParameterSpec], given: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for one in schema:
        name, kind = one["name"], one["type"]
        if name in given:
            values[name] = decisions.read_parameter(name, kind, given[name])
        elif one.get("has_default"):
            values[name] = parameters.read(kind, one["default"])
        else:
            raise exception.InvalidError(f"the query parameter {name!r} is missing")
    return values


def succeeded(core: Core, container: machines.Container, item: work.Input, seconds: float) -> None:
    """A request was answered, as its runner said by the connection of the edge."""
    core.turn.touch()
    function, container.seen_at = container.function, core.clock.now()
    function.seconds = attempts.smooth(function.seconds, seconds)
    item.usage = (seconds, None, None)
    container.served += 1
    work_actions.finish(core, item, moves.Status.SUCCESS)
    if container.state == moves.ContainerState.DRAINING and not container.held:
        container.kill_at = core.clock.now() + container_actions.grace(core, container)


def payload(head: bytes, body: bytes | None) -> bytes:
    """The arguments of a web function's input. (Written here, never read: only runners unpickle.)"""
    return pickle.dumps(((head,) if body is None else (head, body), {}), 4)
