"""A sandbox from the wish for one until its end is known."""

from __future__ import annotations

from typing import Any

from windlass.server.state import machines, moves
from windlass.wire.messages import sandboxes as messages


class Sandbox:
    """One that has not ended, or has in this turn."""

    __slots__ = (
        "app",
        "code",
        "container",
        "created_at",
        "ended_at",
        "execs",
        "id",
        "idle_since",
        "message",
        "n",
        "name",
        "ready_at",
        "spec",
        "started_at",
        "state",
        "tags",
        "waiting",
        "why",
    )

    def __init__(
        self, *, n: int, identity: str, app: machines.App, name: str, tags: dict[str, str], spec: messages.SandboxSpec
    ) -> None:
        self.n = n
        self.id = identity
        self.app = app
        self.name = name
        self.tags = tags
        self.spec = spec
        self.state = moves.SandboxState.QUEUED
        self.container: machines.Container | None = None
        self.created_at = 0.0
        self.started_at: float | None = None
        self.ready_at: float | None = None
        self.ended_at: float | None = None
        self.code: int | None = None
        self.why = ""
        self.message = ""
        self.execs = 0
        """Commands that run in it, as its worker says."""
        self.idle_since = 0.0
        self.waiting: list[Any] = []
        """Callbacks of those who wait for its next step."""

    @property
    def alive(self) -> bool:
        return self.state < moves.SandboxState.FINISHED
