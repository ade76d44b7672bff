"""``proxy_token.*`` and ``domain.*``: what people arrange for the web edge."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import web as actions
from windlass.server.store import web
from windlass.wire import peer
from windlass.wire.messages import common
from windlass.wire.messages import web as messages

Core = door.Core


@door.handler("proxy_token.create")
def create(core: Core, who: door.Who, body: messages.ProxyTokenCreate, incoming: peer.Incoming) -> Any:
    return actions.create_token(core, body)


@door.handler("proxy_token.list")
def listed(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> Any:
    return {"tokens": [_info(one) for one in web.tokens(core.db)]}


def _info(token: web.Token) -> messages.ProxyTokenInfo:
    return {
        "token_id": token.id,
        "name": token.name,
        "environments": token.environments,
        "created_at": token.created_at,
        "by": token.created_by,
    }


@door.handler("proxy_token.revoke")
def revoke(core: Core, who: door.Who, body: messages.ProxyTokenRef, incoming: peer.Incoming) -> Any:
    actions.revoke_token(core, body["token_id"])
    return {}


@door.handler("edge.trust")
def trust(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> None:
    if core.web.trust is None:
        raise exception.ConflictError("this platform has no web edge")
    core.tasks.start(_trust(core, incoming), "edge.trust")


async def _trust(core: Core, incoming: peer.Incoming) -> None:
    try:
        certificate = await core.web.trust()
    except OSError as exc:
        incoming.fail(exception.PermissionDeniedError(f"the local authority cannot be kept: {exc}"))
        return
    incoming.reply({"certificate": str(certificate), "port": core.web.tls_port})


@door.handler("domain.add")
def add_domain(core: Core, who: door.Who, body: messages.DomainRef, incoming: peer.Incoming) -> Any:
    actions.add_domain(core, body["domain"])
    return {}


@door.handler("domain.list")
def list_domains(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> Any:
    return {"domains": [{"domain": name, "created_at": at} for name, at in web.domains(core.db).items()]}


@door.handler("domain.remove")
def remove_domain(core: Core, who: door.Who, body: messages.DomainRef, incoming: peer.Incoming) -> Any:
    actions.remove_domain(core, body["domain"])
    return {}
