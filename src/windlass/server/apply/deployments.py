"""Versions of apps: all of one becomes current in one transaction, or nothing does.

Functions keep their ids and change their specs, so callers, handles and queued inputs go on with the new code.
Containers of the old one give way to new ones (``decide.rollout``), or are told to stop at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import apps, containers, environments, firings, pending, variants, web
from windlass.server.apply import core as core_module
from windlass.server.apply import work as work_actions
from windlass.server.decide import variants as variant_decisions
from windlass.server.decide import versions
from windlass.server.state import machines, moves, work
from windlass.server.store import apps as app_rows
from windlass.server.store import deployments, secrets
from windlass.wire.messages import deployments as messages
from windlass.wire.messages import functions as function_messages

Core = core_module.Core
Parts = Mapping[str, versions.Part]


def named(core: Core, name: str, environment: str) -> machines.App | None:
    """The deployed app of that name."""
    row = app_rows.by_name(core.db, name, environment, any_state=False)
    app = core.world.apps.get(row.id) if row is not None else None
    return app if app is not None and app.alive else None


def current(core: Core, app: machines.App | None) -> dict[str, versions.Part]:
    """What the app consists of."""
    if app is None:
        return {}
    known = core.world.functions
    return {tag: versions.Part(known[i].id, known[i].spec) for tag, i in app.layout.items() if i in known}


def repeated(core: Core, app: machines.App, deploy_id: str) -> messages.AppDeployed | None:
    """The answer to a request that was answered before, as far as anybody heard."""
    row = deployments.by_version(core.db, app.n, app.version)
    return answer(core, app, [], skipped=False) if row is not None and row.deploy_id == deploy_id else None


def answer(core: Core, app: machines.App, leaving: list[str], *, skipped: bool) -> messages.AppDeployed:
    return {
        "app_id": app.id,
        "version": app.version,
        "skipped": skipped,
        "functions": parts(core, app),
        "leaving": leaving,
    }


def parts(core: Core, app: machines.App) -> dict[str, function_messages.FunctionInfo]:
    known = core.world.functions
    return {tag: apps.handle(core, known[i]) for tag, i in app.layout.items() if i in known}


def deploy(core: Core, body: messages.AppDeploy, client: str) -> messages.AppDeployed:
    """Publish what was asked for, unless it is the current version already. Nothing is changed where it is refused."""
    app = core.world.apps.get(body["app_id"])
    if app is not None and (before := repeated(core, app, body["deploy_id"])) is not None:
        return before
    same = _Secrets(core, app)
    new = {
        tag: versions.Part(part["function_id"], same.settled(part["spec"])) for tag, part in body["functions"].items()
    }
    now = current(core, app)
    versions.check(now, new)
    changes = versions.difference(now, new)
    for tag in changes.added:
        _check_id(core, app, new[tag].function_id)
    tags, local_name = body.get("tags") or {}, body.get("local_name")
    name = app.name if app is not None else body.get("name")
    environment = app.environment if app is not None else environments.named(core, body.get("environment"))
    web.check(core, app, name or "", environment, {tag: part.spec for tag, part in new.items()})
    if app is None:
        app = _made(core, body, client)
    elif app.version and not changes and not _is_renamed(core, app, body):
        return answer(core, app, [], skipped=True)
    core.turn.begin()
    app.local_name = local_name
    leaving = _release(core, app, new, changes, recreate=body.get("strategy") == "recreate")
    _record(core, app, body["deploy_id"], body.get("facts") or {}, tags)
    return answer(core, app, leaving, skipped=False)


def _is_renamed(core: Core, app: machines.App, body: messages.AppDeploy) -> bool:
    """Whether the same functions get other words: also a tag that their version does not have is worth a new one."""
    if (body.get("tags") or {}) != apps.tags(core, app) or body.get("local_name") != app.local_name:
        return True
    tag = (body.get("facts") or {}).get("tag", "")
    row = deployments.by_version(core.db, app.n, app.version)
    return bool(tag) and (row is None or row.facts.get("tag", "") != tag)


def _made(core: Core, body: messages.AppDeploy, client: str) -> machines.App:
    """The first of its name."""
    name = body.get("name")
    if not name:
        raise exception.InvalidError("an app without a name cannot be deployed")
    environment = environments.named(core, body.get("environment"))
    if named(core, name, environment) is not None:
        raise exception.ConflictError(
            f"app {name!r} was deployed by somebody else in the meantime", hint="Deploy again."
        )
    core.turn.begin()
    return apps.create(
        core,
        {"app_id": body["app_id"], "name": name, "description": name, "state": "deployed", "environment": environment},
        client,
    )


def _check_id(core: Core, app: machines.App | None, function_id: str) -> None:
    """A function that comes in must be nobody else's."""
    known = core.world.functions.get(function_id)
    if known is not None:
        foreign = known.app is not app or known.variant_of is not None
    else:
        foreign = app_rows.function_by_id(core.db, function_id) is not None
    if foreign:
        raise exception.InvalidError(f"function {function_id} is another one's already")


def bring_back(core: Core, app: machines.App, body: messages.AppReturn) -> messages.AppDeployed:
    """Publish an old version as the next one; with ``rollover`` the current one, on new containers."""
    if (before := repeated(core, app, body["deploy_id"])) is not None:
        return before
    rollover = body.get("rollover", False)
    wanted = app.version if rollover else body.get("version") or app.version - 1
    row = deployments.by_version(core.db, app.n, wanted)
    if row is None:
        raise _no_version(app, wanted if app.version > 1 or body.get("version") else None)
    if wanted == app.version and not rollover:
        raise exception.InvalidError(
            f"version {wanted} is the current one", hint="`windlass app rollover` starts new containers of it."
        )
    old = _parts_of(core, row)
    changes = versions.difference(current(core, app), old)
    if rollover:
        changes = changes._replace(changed=list(old))
    core.turn.begin()
    leaving = _release(core, app, old, changes, recreate=body.get("strategy") == "recreate")
    facts = dict(body.get("facts") or {})
    if rollover:
        facts["rollover"] = True
    else:
        facts["rollback"] = wanted
    tags = apps.tags(core, app)
    _record(core, app, body["deploy_id"], facts, tags)  # type: ignore[arg-type]
    return answer(core, app, leaving, skipped=False)


def _no_version(app: machines.App, wanted: int | None) -> exception.NotFoundError:
    if wanted is None:
        text = f"app {app.name!r} has no version to come back to"
    elif 0 < wanted < app.version:
        text = f"version {wanted} of app {app.name!r} is too old: it is not kept any more"
    else:
        text = f"app {app.name!r} has no version {wanted}"
    return exception.NotFoundError(text, hint=f"`windlass app history {app.name}` shows the versions there are.")


def _parts_of(core: Core, row: deployments.Row) -> dict[str, versions.Part]:
    found = {}
    for tag, (identity, generation) in row.layout.items():
        function = core.world.functions.get(identity)
        spec = deployments.spec(core.db, function.n, generation) if function is not None else None
        if spec is None:
            raise exception.DataLossError(f"what function {tag!r} was in version {row.version} is not known any more")
        found[tag] = versions.Part(identity, spec)
    return found


def _release(
    core: Core, app: machines.App, new: Parts, changes: versions.Difference, *, recreate: bool
) -> list[str]:
    """Memory and rows of the functions. Returned: the containers that were told to stop."""
    before = [c.id for f in apps.functions_of(core, app) if f.pin is None for c in f.containers.values()]
    for tag in (*changes.added, *changes.changed):
        part = new[tag]
        function = core.world.functions.get(part.function_id)
        if function is None:
            function = apps.add_function(core, app, part.function_id, part.spec)
        _renew(core, function, part.spec)
    for identity in changes.removed:
        _remove(core, core.world.functions[identity])
    for tag, part in new.items():
        function = core.world.functions[part.function_id]
        if recreate and tag not in changes.added and tag not in changes.changed:
            _renew(core, function, function.spec)
        _reset(core, function)
    apps.publish(core, app, {tag: part.function_id for tag, part in new.items()})
    core.web.changed()
    if not recreate:
        return []
    for identity in before:
        containers.stop(core, core.world.containers[identity], graceful=False, why="a new version was deployed")
    return [identity for identity in before if identity in core.world.containers]


def _renew(core: Core, function: machines.Function, spec: function_messages.FunctionSpec) -> None:
    """From now on containers are made from ``spec``, those of its variants too, as far as there still are such."""
    _replace(core, function, spec)
    for variant in function.variants.values():
        if variants.fits(spec, variant.parameters):
            _replace(core, variant, variant_decisions.spec(spec, variant.overrides))
        elif not variant.removed:
            _remove(core, variant)


def _replace(core: Core, function: machines.Function, spec: function_messages.FunctionSpec) -> None:
    """One pool goes on with ``spec``; failures of the old one count no more."""
    if function.variant_of is not None and function.containers:
        deployments.keep_spec(core.db, function)  # what these containers are made of
    function.spec, function.removed = spec, False
    function.generation += 1
    function.rolling = bool(function.containers)
    function.failures, function.not_before, function.broken, function.last_failure = 0, 0.0, False, None
    core.world.emptying.pop(function.n, None)  # what still waits runs on the new code
    deployments.set_function(core.db, function)


def _reset(core: Core, function: machines.Function) -> None:
    """Overrides of its autoscaler end, whether it changed or not; those of its variants too."""
    bounds = variant_decisions.bounds(function.spec, is_variant=function.variant_of is not None)
    if function.autoscaler != bounds:
        function.autoscaler = bounds
        app_rows.clear_autoscaler(core.db, function)
    for variant in function.variants.values():
        _reset(core, variant)


def _remove(core: Core, function: machines.Function) -> None:
    """It is called no more. What runs may finish; what waits ends."""
    function.removed = True
    deployments.set_function(core.db, function)
    end_waiting(core, function)
    for container in list(function.containers.values()):
        containers.stop(core, container, graceful=True, why="its function was removed")
    for variant in function.variants.values():
        _remove(core, variant)


def end_waiting(core: Core, function: machines.Function) -> None:
    """What waits for a function that was removed."""
    body = work_actions.own_failure(function.farewell)
    pending.empty(core, function, machines.Ending(moves.Status.TERMINATED, body, work.NO_DATA))


def _record(core: Core, app: machines.App, deploy_id: str, facts: messages.Facts, tags: dict[str, str]) -> None:
    app.version += 1
    deployments.set_app(core.db, app, tags)
    known = core.world.functions
    layout = {tag: (identity, known[identity].generation) for tag, identity in app.layout.items()}
    row = deployments.Row(app.version, deploy_id, core.clock.now(), layout, facts)
    deployments.insert(core.db, app, row)
    firings.plan(core, apps.functions_of(core, app))


class _Secrets:
    """Anonymous secrets are created anew with each deploy: those of equal content are one and the same."""

    def __init__(self, core: Core, app: machines.App | None) -> None:
        self._core = core
        self._by_content: dict[tuple[tuple[str, str], ...], str] = {}
        for function in apps.functions_of(core, app) if app is not None else ():
            for identity in [*function.spec["secrets"], *(one["secret"] for one in function.spec.get("buckets", []))]:
                self._settle(identity)

    def settled(self, spec: function_messages.FunctionSpec) -> function_messages.FunctionSpec:
        settled: function_messages.FunctionSpec = {
            **spec, "secrets": [self._settle(identity) for identity in spec["secrets"]]
        }  # fmt: skip
        if "buckets" in spec:
            settled["buckets"] = [{**one, "secret": self._settle(one["secret"])} for one in spec["buckets"]]
        return settled

    def _settle(self, identity: str) -> str:
        row = secrets.by_id(self._core.db, identity)
        if row is None or row.name is not None:
            return identity
        content = tuple(sorted(self._core.keyring.decrypt(row.env).items()))
        return self._by_content.setdefault(content, identity)


def pinned(core: Core, app: machines.App, tag: str, version: int) -> machines.Function:
    """The pool of containers that stays with an old version of a function. Nothing of it is kept warm."""
    if (identity := deployments.pinned(core.db, app.n, tag, version)) is not None:
        return core.world.functions[identity]
    row = deployments.by_version(core.db, app.n, version)
    if row is None:
        raise _no_version(app, version)
    if tag not in row.layout:
        raise exception.NotFoundError(
            f"app {app.name!r} has no function {tag!r} in version {version}",
            hint="`windlass app history` shows the versions there are.",
        )
    spec = _parts_of(core, row)[tag].spec
    core.turn.begin()
    scaling: function_messages.AutoscalerSpec = {**spec["autoscaler"], "min_containers": 0}
    function = apps.add_function(core, app, ids.new("fu"), {**spec, "autoscaler": scaling})
    function.pin = version
    deployments.pin(core.db, function)
    return function


def layout_of(core: Core, function: machines.Function) -> dict[str, function_messages.FunctionInfo]:
    """The functions that code in a container of ``function`` calls: of the same version, where that is pinned."""
    if function.pin is None:
        return parts(core, function.app)
    row = deployments.by_version(core.db, function.app.n, function.pin)
    tags = list(row.layout) if row is not None else []
    return {tag: apps.handle(core, pinned(core, function.app, tag, function.pin)) for tag in tags}
