"""``sandbox.tunnels``, ``sandbox.token``: how others come to its ports."""

from __future__ import annotations

import asyncio
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.api.sandboxes import waiting
from windlass.server.apply import connect_tokens, web
from windlass.wire import peer
from windlass.wire.messages import sandboxes as messages

Core = door.Core


@door.handler("sandbox.tunnels")
def tunnels(core: Core, who: door.Who, body: messages.SandboxTunnels, incoming: peer.Incoming) -> None:
    waiting.begun(core, body["sandbox_id"], _tunnels(core, body), incoming)


async def _tunnels(core: Core, body: messages.SandboxTunnels) -> messages.SandboxTunnelsReply:
    one = await asyncio.wait_for(waiting.running(core, body["sandbox_id"]), body.get("seconds", waiting.LONGEST))
    if not one.spec.get("ports"):
        return {"tunnels": []}
    if core.web.ports is None:
        raise door.no_edge(core)
    core.turn.begin()
    found = core.web.ports.of(one)
    await waiting.committed(core)
    plain = not one.spec.get("custom_domain") and web.front(core)[1]
    return {
        "tunnels": [
            {"port": one.port, "host": one.host, "number": one.number, "raw": one.raw, "plain": plain} for one in found
        ]
    }


@door.handler("sandbox.token")
def token(core: Core, who: door.Who, body: messages.SandboxToken, incoming: peer.Incoming) -> Any:
    one = core.world.sandboxes.get(body["sandbox_id"])
    if one is None:
        raise exception.ConflictError(f"sandbox {waiting.info(core, body['sandbox_id'])['sandbox_id']} has finished")
    if core.web.port <= 0:
        raise door.no_edge(core)
    return connect_tokens.create(core, one, body["port"], body.get("metadata"))
