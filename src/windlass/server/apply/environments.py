"""Environments: looked up by everybody, made, renamed and deleted with all that is in them."""

from __future__ import annotations

import itertools

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import collections as collection_actions
from windlass.server.apply import core as core_module
from windlass.server.state import machines
from windlass.server.store import collections, environments, identity, secrets
from windlass.wire.messages import environments as messages

Core = core_module.Core


def named(core: Core, name: str | None) -> str:
    """The environment of that name; where none is given, the workspace's own.

    Raises:
        NotFoundError: there is none of that name.
        InvalidError: none is given, and which one is meant cannot be told.
    """
    if name:
        return row(core, name).name
    return default(core)


def default(core: Core) -> str:
    known = [one.name for one in environments.everything(core.db)]
    if core.settings.environment in known:
        return core.settings.environment
    if len(known) == 1:
        return known[0]
    raise exception.InvalidError(
        "there are several environments, and none was named", hint="Pass --env, or set WINDLASS_ENVIRONMENT."
    )


def row(core: Core, name: str) -> environments.Row:
    found = environments.by_name(core.db, name)
    if found is None:
        raise exception.NotFoundError(
            f"no environment {name[:80]!r}", hint="`windlass environment list` shows what there is."
        )
    return found


def create(core: Core, name: str, default_role: str) -> environments.Row:
    _check_free(core, name)
    made = environments.Row(ids.new("en"), name, _free_suffix(core, name), core.clock.now(), default_role)
    core.turn.begin()
    environments.insert(core.db, made)
    core.identity.changed()
    return made


def _free_suffix(core: Core, name: str) -> str:
    """Nothing for the workspace's own environment, else what the name allows. No two have the same, because functions
    of the same name would have the same address."""
    taken = {one.web_suffix for one in environments.everything(core.db)}
    plain = name.lower().replace("_", "-")
    wanted = ["" if name == core.settings.environment else plain, plain]
    more = (f"{plain}-{n}" for n in itertools.count(2))
    return next(one for one in itertools.chain(wanted, more) if one not in taken)


def _check_suffix_free(core: Core, suffix: str) -> None:
    for one in environments.everything(core.db):
        if one.web_suffix == suffix:
            raise exception.AlreadyExistsError(
                f"environment {one.name!r} has the web suffix {suffix!r} already", hint="Choose another one."
            )


def _check_free(core: Core, name: str) -> None:
    if environments.by_name(core.db, name) is not None:
        raise exception.AlreadyExistsError(f"there is an environment {name!r} already")
    if environments.remains(core.db, name):
        raise exception.ConflictError(
            f"the apps of a deleted environment {name!r} are still being removed", hint="Try again in some seconds."
        )


def update(
    core: Core, old: environments.Row, *, name: str, web_suffix: str, builder_version: str
) -> environments.Row:
    """Rename it, or give it another suffix or builder version. Containers that run already go on with the old name."""
    if name != old.name:
        _check_free(core, name)
    if web_suffix != old.web_suffix:
        _check_suffix_free(core, web_suffix)
    new = old._replace(name=name, web_suffix=web_suffix, builder_version=builder_version)
    core.turn.begin()
    environments.update(core.db, old, new)
    core.identity.changed()
    core.web.changed()
    collections.rename_environment(core.db, old.name, new.name)
    core.collections.clear()
    secrets.rename_environment(core.db, old.name, new.name)
    for app in core.world.apps.values():
        if app.environment == old.name:
            app.environment = new.name
    return new


def builder_version(core: Core, app_id: str) -> str:
    """What the environment of an app says; "" where it leaves that to the server."""
    app = core.world.apps.get(app_id)
    row = None if app is None else environments.by_name(core.db, app.environment)
    return "" if row is None else row.builder_version


def check_not_last(core: Core, gone: environments.Row) -> None:
    if len(environments.everything(core.db)) == 1:
        raise exception.ConflictError(f"{gone.name!r} is the only environment", hint="A workspace needs one.")


def delete(core: Core, gone: environments.Row) -> None:
    """Forget it with its names, once its apps have been told to stop."""
    core.turn.begin()
    environments.delete(core.db, gone)
    identity.delete_roles_in(core.db, gone.id)
    core.identity.changed()
    collection_actions.end_environment(core, gone.name)
    secrets.delete_environment(core.db, gone.name)


def living(core: Core, name: str) -> list[machines.App]:
    return [app for app in core.world.apps.values() if app.environment == name and app.alive]


def info(core: Core, one: environments.Row, default_name: str) -> messages.EnvironmentInfo:
    return {
        "environment_id": one.id,
        "name": one.name,
        "web_suffix": one.web_suffix,
        "created_at": one.created_at,
        "default": one.name == default_name,
        "default_role": one.default_role,
        "apps": len(living(core, one.name)),
        "image_builder_version": one.builder_version,
    }
