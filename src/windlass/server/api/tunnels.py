"""``tunnel.open``: a port of a container, open to this machine as long as the stream is."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.wire import peer
from windlass.wire.messages import web as messages

Core = door.Core


@door.handler("tunnel.open")
def open_tunnel(core: Core, who: door.Who, body: messages.TunnelOpen, incoming: peer.Incoming) -> None:
    if who.container is None:
        raise exception.InvalidError("tunnels lead to containers")
    if core.web.tunnels is None:
        raise exception.ConflictError("this platform has no web edge")
    core.tasks.start(_serve(core.web.tunnels, who.container.id, incoming), "tunnel")


async def _serve(tunnels: Any, container_id: str, incoming: peer.Incoming) -> None:
    try:
        tunnel = await tunnels.open(container_id, lambda number: incoming.item({"visitor": number}))
    except exception.Error as exc:
        incoming.fail(exc)
        return
    incoming.on_cancel = lambda: tunnels.close(tunnel)
    if not incoming.open:
        tunnels.close(tunnel)
        return
    incoming.item({"tunnel_id": tunnel.id, "host": "127.0.0.1", "port": tunnel.port})
