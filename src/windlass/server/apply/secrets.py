"""Secrets: what they hold is encrypted before it is a row, and read only for a container or a build that starts."""

from __future__ import annotations

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.store import secrets
from windlass.wire.messages import secrets as messages

Core = core_module.Core
_NOTED = 60.0  # seconds for which a use is not written down again


def by_id(core: Core, identity: str) -> secrets.Row:
    row = secrets.by_id(core.db, identity)
    if row is None:
        raise exception.NotFoundError(
            f"no secret {identity[:60]}; was it deleted?", hint="Make it again, and deploy what uses it again."
        )
    return row


def named(core: Core, environment: str, name: str) -> secrets.Row:
    row = secrets.by_name(core.db, environment, name)
    if row is None:
        raise exception.NotFoundError(
            f"no secret {name!r} in environment {environment!r}",
            hint=f"Make it: `windlass secret create {name} KEY=VALUE{core_module.where(core, environment)}`.",
        )
    return row


def check_keys(row: secrets.Row, required: list[str]) -> None:
    missing = [key for key in required if key not in row.keys]
    if missing:
        raise exception.InvalidError(
            f"secret {row.name!r} has no {', '.join(key[:80] for key in missing)}",
            hint="`windlass secret update` adds variables.",
        )


def store(core: Core, environment: str, body: messages.SecretStore) -> secrets.Row:
    """Make one with a name, or what ``existing`` says where there is one."""
    name, env = body["name"], body["env"]
    known, how = secrets.by_name(core.db, environment, name), body.get("existing", "fail")
    if known is not None and how == "fail":
        raise exception.AlreadyExistsError(f"there is a secret {name!r} in environment {environment!r} already")
    core.turn.begin()
    if known is None:
        secrets.insert(
            core.db, identity=body["secret_id"], name=name, app=None, keys=sorted(env), env=core.keyring.encrypt(env),
            now=core.clock.now(), environment=environment, by=body.get("by", "")[:100],
        )  # fmt: skip
    elif how == "replace":
        secrets.change(core.db, known.id, sorted(env), core.keyring.encrypt(env))
    return named(core, environment, name)


def update(core: Core, row: secrets.Row, env: dict[str, str]) -> None:
    """Add or replace variables."""
    merged = {**core.keyring.decrypt(row.env), **env}
    core.turn.begin()
    secrets.change(core.db, row.id, sorted(merged), core.keyring.encrypt(merged))


def environment_of(core: Core, identities: list[str]) -> dict[str, str]:
    """The variables that a container starts with: the later secret wins."""
    env: dict[str, str] = {}
    now = core.clock.now()
    for identity in identities:
        row = by_id(core, identity)
        env.update(core.keyring.decrypt(row.env))
        if row.name is not None and (row.used_at is None or now - row.used_at > _NOTED):
            core.turn.begin()
            secrets.used(core.db, identity, now)
    return env


def info(row: secrets.Row) -> messages.SecretInfo:
    return {
        "secret_id": row.id,
        "name": row.name or "",
        "environment": row.environment,
        "keys": row.keys,
        "created_at": row.created_at,
        "created_by": row.created_by,
        "used_at": row.used_at,
    }
