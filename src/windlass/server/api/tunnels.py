"""``tunnel.open``: a port of a container, open to others as long as the stream is; ``tunnel.close`` ends it before."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import web as actions
from windlass.server.decide import ports
from windlass.wire import peer
from windlass.wire.messages import web as messages

Core = door.Core


@door.handler("tunnel.open")
def open_tunnel(core: Core, who: door.Who, body: messages.TunnelOpen, incoming: peer.Incoming) -> None:
    if who.container is None:
        raise exception.InvalidError("tunnels lead to containers")
    if core.web.tunnels is None:
        raise door.no_edge(core)
    if (kind := body.get("kind", ports.ANY)) not in (ports.TLS, ports.H2, ports.ANY):
        raise exception.InvalidError(f"a tunnel does not speak {kind[:20]!r}")
    opened, tunnels = None, core.web.tunnels

    def visit(number: int, ticket: str) -> None:
        incoming.item({"visitor": number, "ticket": ticket})

    opened = tunnels.open(who.container.id, visit, kind)
    incoming.on_cancel = lambda: tunnels.close(opened)
    host, plain = actions.front(core)
    incoming.item({"tunnel_id": opened.id, "host": host, "port": opened.port, "plain": plain})


@door.handler("tunnel.close", "tunnel_id")
def close_tunnel(core: Core, who: door.Who, body: messages.TunnelClose, incoming: peer.Incoming) -> Any:
    """That its stream is left is told to nobody, and may be heard after the function's result."""
    if who.container is not None and core.web.tunnels is not None:
        for one in core.web.tunnels.of(who.container.id, body["tunnel_id"]):
            core.web.tunnels.close(one)
    return {}
