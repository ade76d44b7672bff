"""``environment.*``."""

from __future__ import annotations

import re
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import apps, identity
from windlass.server.apply import environments as actions
from windlass.server.decide import images as image_decisions
from windlass.server.store import environments
from windlass.wire import peer
from windlass.wire.messages import common
from windlass.wire.messages import environments as messages

Core = door.Core
_NAME = re.compile(r"(?!en-)[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_SUFFIX = re.compile(r"[a-z0-9-]{0,64}\Z")
_MOST = 1500


def _check(name: str) -> str:
    if not _NAME.match(name):
        raise exception.InvalidError(
            f"{name[:80]!r} is no name for an environment",
            hint="Use 1-64 letters, digits, '-' and '_', beginning with a letter or digit, not with 'en-'.",
        )
    return name


@door.handler("environment.create")
def create(core: Core, who: door.Who, body: messages.EnvironmentCreate, incoming: peer.Incoming) -> Any:
    if len(environments.everything(core.db)) >= _MOST:
        raise exception.ResourceExhaustedError(f"a workspace has at most {_MOST:,} environments")
    role = body.get("default_role", "contributor")
    identity.check_role(role)
    return _info(core, actions.create(core, _check(body["name"]), role))


@door.handler("environment.list")
def listed(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> Any:
    return {"environments": [_info(core, one) for one in environments.everything(core.db)]}


@door.handler("environment.update", "name")
def update(core: Core, who: door.Who, body: messages.EnvironmentUpdate, incoming: peer.Incoming) -> Any:
    old = actions.row(core, body["name"])
    suffix = body.get("set_web_suffix", old.web_suffix)
    if not _SUFFIX.match(suffix):
        raise exception.InvalidError(f"{suffix[:80]!r} is no web suffix", hint="Use small letters, digits and dashes.")
    name = _check(body.get("set_name", old.name))
    version = body.get("set_image_builder_version", old.builder_version)
    image_decisions.check_version(version)
    return _info(core, actions.update(core, old, name=name, web_suffix=suffix, builder_version=version))


@door.handler("environment.delete")
def delete(core: Core, who: door.Who, body: messages.EnvironmentRef, incoming: peer.Incoming) -> Any:
    gone = actions.row(core, body["name"])
    actions.check_not_last(core, gone)
    core.turn.begin()
    for app in actions.living(core, gone.name):
        apps.stop(core, app, reason="stopped", message=f"environment {gone.name} was deleted")
    actions.delete(core, gone)
    return {}


def _info(core: Core, one: environments.Row) -> messages.EnvironmentInfo:
    known = [other.name for other in environments.everything(core.db)]
    preferred = core.settings.environment
    default = preferred if preferred in known else known[0] if len(known) == 1 else ""
    return actions.info(core, one, default)
