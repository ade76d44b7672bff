"""``token.*``, ``member.*``, ``environment.roles`` and ``audit.list``: who may use this platform, and who did what."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import environments, flows
from windlass.server.apply import identity as actions
from windlass.server.store import identity
from windlass.wire import peer
from windlass.wire.messages import common
from windlass.wire.messages import environments as environment_messages
from windlass.wire.messages import identity as messages

Core = door.Core
_MOST = 10_000


@door.handler("identity.whoami")
def whoami(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> Any:
    by, workspace = who.principal, core.settings.workspace
    return {
        "workspace": workspace,
        "principal_id": "" if by is None else by.principal_id,
        "name": actions.name_of(core, by),
        "kind": "owner" if by is None else by.kind,
        "token_id": "" if by is None else by.token_id,
        "expires_at": None if by is None else by.expires_at,
        "environments": actions.visible(core, by),
    }


@door.handler("token.create", "token_id", "name")
def create(core: Core, who: door.Who, body: messages.TokenCreate, incoming: peer.Incoming) -> Any:
    return actions.create(core, who.principal, body)


@door.handler("token.asked")
def asked(core: Core, who: door.Who, body: messages.TokenCode, incoming: peer.Incoming) -> Any:
    flow = flows.coded(core, body["code"])
    return {"name": flow.name, "source": flow.source}


@door.handler("token.approve", "code")
def approve(core: Core, who: door.Who, body: messages.TokenApprove, incoming: peer.Incoming) -> Any:
    return flows.approve(core, who.principal, body)


@door.handler("token.list")
def listed(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> Any:
    return {"tokens": actions.tokens(core, who.principal)}


@door.handler("token.rotate")
def rotate(core: Core, who: door.Who, body: messages.TokenRotate, incoming: peer.Incoming) -> Any:
    return actions.rotate(core, who.principal, body)


@door.handler("token.revoke")
def revoke(core: Core, who: door.Who, body: messages.TokenRef, incoming: peer.Incoming) -> Any:
    actions.revoke(core, who.principal, body["token_id"])
    return {}


@door.handler("member.list")
def members(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> Any:
    return {"members": actions.members(core)}


@door.handler("member.update")
def update(core: Core, who: door.Who, body: messages.MemberUpdate, incoming: peer.Incoming) -> Any:
    actions.update_member(core, who.principal, body["member"], body["kind"])
    return {}


@door.handler("member.remove")
def remove(core: Core, who: door.Who, body: messages.MemberRef, incoming: peer.Incoming) -> Any:
    actions.remove_member(core, who.principal, body["member"])
    return {}


@door.handler("environment.roles")
def roles(core: Core, who: door.Who, body: environment_messages.EnvironmentRef, incoming: peer.Incoming) -> Any:
    row = environments.row(core, body["name"])
    everybody = actions.members(core)
    return {
        "default_role": row.default_role,
        "roles": {one["name"]: one["environments"][row.name] for one in everybody if row.name in one["environments"]},
        "effective": actions.effective(core, row.name),
    }


@door.handler("environment.set_role", "name", "role")
def set_role(core: Core, who: door.Who, body: messages.RoleUpdate, incoming: peer.Incoming) -> Any:
    row = environments.row(core, body["name"])
    if "member" in body:
        actions.set_role(core, row, body["member"], body["role"])
    else:
        actions.set_default_role(core, row, body["role"])
    return {}


@door.handler("audit.list")
def audit(core: Core, who: door.Who, body: messages.AuditQuery, incoming: peer.Incoming) -> Any:
    since, until = body.get("since", 0.0), body.get("until", float("inf"))
    if since > until:
        raise exception.InvalidError("the range ends before it begins")
    entries = identity.audit(
        core.db, since=since, until=until, name=body.get("member"), action=body.get("action"),
        limit=max(1, min(body.get("limit", 100), _MOST)),
    )  # fmt: skip
    names = {"principal": "principal_id"}
    return {"entries": [{names.get(key, key): value for key, value in one._asdict().items()} for one in entries]}
