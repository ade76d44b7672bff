"""``proxy.*``."""

from __future__ import annotations

from typing import Any

from windlass.server.api import door
from windlass.server.api import volumes as volume_doors
from windlass.server.apply import environments
from windlass.server.apply import proxies as actions
from windlass.server.store import proxies
from windlass.wire import peer
from windlass.wire.messages import proxies as messages

Core = door.Core


@door.handler("proxy.create")
def create(core: Core, who: door.Who, body: messages.ProxyCreate, incoming: peer.Incoming) -> None:
    by = volume_doors.author(core, who)

    async def made() -> None:
        answer = actions.info(await actions.make(core, body, by=by))
        core.turn.answer(incoming, answer)

    core.tasks.start(door.answered(incoming, made()), "proxy.create")


@door.handler("proxy.get")
def get(core: Core, who: door.Who, body: messages.ProxyGet, incoming: peer.Incoming) -> Any:
    return actions.info(actions.get(core, body))


@door.handler("proxy.list")
def listed(core: Core, who: door.Who, body: messages.ProxyList, incoming: peer.Incoming) -> Any:
    found = proxies.named(core.db, environments.named(core, body.get("environment")))
    return {"proxies": [actions.info(row) for row in found]}


@door.handler("proxy.delete")
def delete(core: Core, who: door.Who, body: messages.ProxyRef, incoming: peer.Incoming) -> Any:
    actions.delete(core, actions.existing(core, body["proxy_id"]))
    return {}
