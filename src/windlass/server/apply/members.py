"""Who may use this platform: members and service users, and their roles in the workspace and its environments."""

from __future__ import annotations

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import identity
from windlass.server.decide import rights
from windlass.server.state import identity as state
from windlass.server.store import environments
from windlass.server.store import identity as store
from windlass.wire.messages import identity as messages

Core = core_module.Core


def effective(core: Core, environment: str) -> dict[str, str]:
    """What each member is in it."""
    part, roles = identity.named(core, environment), store.roles(core.db)
    return {
        row.name: rights.role(
            kind=row.kind, own=roles.get(row.id, {}).get(part.id), outside=False, default=part.default_role
        )
        for row in store.principals(core.db)
    }


def set_default_role(core: Core, row: environments.Row, wanted: str) -> None:
    identity.check_role(wanted)
    core.turn.begin()
    environments.set_default_role(core.db, row.id, wanted)
    core.identity.changed()


def set_role(core: Core, row: environments.Row, member: str, wanted: str) -> None:
    """``wanted`` "": the environment's default."""
    if wanted:
        identity.check_role(wanted)
    whose = find(core, member)
    core.turn.begin()
    store.set_role(core.db, row.id, whose.id, wanted or None)
    core.identity.changed()


def find(core: Core, member: str) -> store.Principal:
    found = store.named(core.db, member) or store.principal(core.db, member)
    if found is None:
        raise exception.NotFoundError(
            f"no member {member[:80]!r}", hint="`windlass workspace members list` shows who there is."
        )
    return found


def update(core: Core, by: state.Principal | None, member: str, kind: str) -> None:
    row = find(core, member)
    check_kind(by, kind)
    check_kind(by, row.kind)
    if "service" in (kind, row.kind) and kind != row.kind:
        raise exception.InvalidError("a service user stays one, and nobody else becomes one", hint="Make another one.")
    core.turn.begin()
    store.set_kind(core.db, row.id, kind)
    core.identity.changed()


def remove(core: Core, by: state.Principal | None, member: str) -> None:
    """With all tokens, which open nothing any more at once."""
    row = find(core, member)
    check_kind(by, row.kind)
    core.turn.begin()
    gone = {one.id for one in store.tokens(core.db) if one.principal == row.id}
    store.delete_principal(core.db, row.id)
    core.identity.changed()
    identity.disconnect(core, gone)


def check_kind(by: state.Principal | None, kind: str) -> None:
    """Managers have no power over owners, nor may they make one."""
    if kind not in rights.KINDS:
        raise exception.InvalidError(f"{kind[:60]!r} is no role", hint=f"There are {', '.join(rights.KINDS)}.")
    if kind == "owner" and by is not None and by.kind != "owner":
        raise exception.PermissionDeniedError(f"only an owner may do that; {by.name} is a {by.kind}")


def listed(core: Core, by: state.Principal | None) -> list[messages.Member]:
    """All, with their roles where ``by`` may look."""
    seen = identity.visible(core, by)
    names = {part.id: part.name for part in identity.parts(core).values() if part.name in seen}
    roles, now = store.roles(core.db), core.clock.now()
    valid: dict[str, int] = {}
    for token in store.tokens(core.db):
        valid[token.principal] = valid.get(token.principal, 0) + (identity.state_of(token, now) == "valid")
    return [
        {
            "principal_id": row.id,
            "name": row.name,
            "kind": row.kind,
            "created_at": row.created_at,
            "created_by": row.created_by,
            "used_at": row.used_at,
            "environments": {names[one]: own for one, own in roles.get(row.id, {}).items() if one in names},
            "tokens": valid.get(row.id, 0),
        }
        for row in store.principals(core.db)
    ]
