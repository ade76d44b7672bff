"""Web functions as the edge sees them: which host name leads where."""

from __future__ import annotations

from typing import Any, NamedTuple

from windlass.server.state import machines
from windlass.wire.messages import functions


class Route(NamedTuple):
    """What answers at a label."""

    label: str
    function: machines.Function
    method: str
    web: functions.WebSpec


class Web:
    """``port``: where the edge listens, 0 before it does, -1 where there is none."""

    def __init__(self) -> None:
        self.port = -1
        self.routes: dict[str, Route] | None = None
        """By label; None: to be made anew, because functions have come or gone."""
        self.tokens: dict[str, tuple[str, list[str]]] | None = None
        """Digest and environments of each proxy token; None: to be read again."""
        self.tls_port = 0
        """Where it answers HTTPS, 0 where it does not."""
        self.trust: Any = None
        """Makes the local authority (``ingress.listener``), where there is an edge."""
        self.tunnels: Any = None
        """Opens ports of containers (``ingress.tunnels``), where there is an edge."""
        self.sessions: dict[str, Any] = {}
        """Where clients' sessions are (``decide.sessions.Sessions``), by server."""
        self.outside: Any = None
        """What URLs look like (``decide.fronts.Outside``), where they are not ours to make."""
        self.ports: Any = None
        """Opens those of sandboxes (``ingress.ports``), where there is an edge."""
        self.visiting: dict[str, int] = {}
        """Connections from outside that each sandbox has now."""
        self.domains: dict[str, Route] = {}
        """By custom domain."""

    def changed(self) -> None:
        self.routes = None
