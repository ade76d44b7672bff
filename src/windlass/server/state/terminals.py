"""Terminals of users that containers have, or wait for. Only in memory: they end with the connections they hang on."""

from __future__ import annotations

import asyncio

from windlass.wire import peer
from windlass.wire.messages import terminals as messages


class Terminal:
    """A container that has, or wants, the terminal of its app's client, for one of its inputs."""

    __slots__ = ("container_id", "desk", "id", "incoming", "input_id", "timer")

    def __init__(self, identity: str, container_id: str, input_id: str, desk: Desk, incoming: peer.Incoming) -> None:
        self.id = identity
        self.container_id = container_id
        self.input_id = input_id
        self.desk = desk
        self.incoming = incoming
        self.timer: asyncio.Task[None] | None = None
        """Ends its wait."""


class Desk:
    """A client that lends its terminal to the containers of one app, one at a time."""

    __slots__ = ("about", "current", "incoming", "waiting")

    def __init__(self, about: messages.TerminalAttach, incoming: peer.Incoming) -> None:
        self.about = about
        self.incoming = incoming
        self.current: Terminal | None = None
        self.waiting: list[Terminal] = []


class Terminals:
    """All desks by app, and all terminals by id."""

    def __init__(self) -> None:
        self.desks: dict[str, Desk] = {}
        self.by_id: dict[str, Terminal] = {}

    def involve(self, container_id: str) -> bool:
        """Whether this container has or waits for a terminal: then people, not timeouts, decide how long it takes."""
        return any(terminal.container_id == container_id for terminal in self.by_id.values())
