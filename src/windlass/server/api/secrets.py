"""``secret.*``: values come in; only containers and builds get them out."""

from __future__ import annotations

import re
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import door
from windlass.server.apply import environments, receipts
from windlass.server.apply import secrets as actions
from windlass.server.decide import secrets as decisions
from windlass.server.store import secrets
from windlass.wire import peer
from windlass.wire.messages import secrets as messages

Core = door.Core
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_MOST_LISTED = 1000


def _check_id(identity: str) -> str:
    if not ids.is_id(identity, "st"):
        raise exception.InvalidError(f"not a secret id: {identity[:60]!r}")
    return identity


@door.handler("secret.create", "secret_id", "env")
def create(core: Core, who: door.Who, body: messages.SecretCreate, incoming: peer.Incoming) -> Any:
    env = body["env"]
    decisions.check(env)
    core.turn.begin()
    secrets.insert(
        core.db, identity=_check_id(body["secret_id"]), name=None, app=body.get("app_id"), keys=sorted(env),
        env=core.keyring.encrypt(env), now=core.clock.now(),
    )  # fmt: skip
    return {"secret_id": body["secret_id"]}


@door.handler("secret.store", "secret_id", "name", "env", "op", "low")
def store(core: Core, who: door.Who, body: messages.SecretStore, incoming: peer.Incoming) -> None:
    _check_id(body["secret_id"])
    decisions.check(body["env"])
    if not _NAME.match(body["name"]):
        raise exception.InvalidError(
            f"{body['name'][:80]!r} is no name for a secret", hint="Use 1-64 letters, digits, '-', '_', '.'."
        )
    environment = environments.named(core, body.get("environment"))
    receipts.once(
        core, who.client_id, body, incoming,
        lambda: ({"secret_id": actions.store(core, environment, body).id}, None),
    )  # fmt: skip


@door.handler("secret.get")
def get(core: Core, who: door.Who, body: messages.SecretGet, incoming: peer.Incoming) -> Any:
    if "secret_id" in body:
        row = actions.by_id(core, body["secret_id"])
    else:
        row = actions.named(core, environments.named(core, body.get("environment")), body.get("name", ""))
    actions.check_keys(row, body.get("required_keys", []))
    return actions.info(row)


@door.handler("secret.update")
def update(core: Core, who: door.Who, body: messages.SecretUpdate, incoming: peer.Incoming) -> None:
    decisions.check(body["env"])

    def act() -> tuple[Any, None]:
        row = actions.by_id(core, body["secret_id"])
        if row.name is None:
            raise exception.InvalidError("a secret without a name cannot be updated", hint="Make a new one.")
        actions.update(core, row, body["env"])
        return {}, None

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("secret.list")
def listed(core: Core, who: door.Who, body: messages.SecretList, incoming: peer.Incoming) -> Any:
    environment = environments.named(core, body.get("environment"))
    limit = max(0, min(body.get("limit", 100), _MOST_LISTED))
    rows = secrets.listed(core.db, environment, before=body.get("created_before", float("inf")), limit=limit)
    return {"secrets": [actions.info(row) for row in rows]}


@door.handler("secret.delete", "name", "op", "low")
def delete(core: Core, who: door.Who, body: messages.SecretDelete, incoming: peer.Incoming) -> None:
    environment = environments.named(core, body.get("environment"))

    def act() -> tuple[Any, None]:
        secrets.delete(core.db, actions.named(core, environment, body["name"]).id)
        return {}, None

    receipts.once(core, who.client_id, body, incoming, act)
