"""Who somebody is that came with a token, as long as the server remembers it; the truth is in rows.

Nothing here outlives a change: whoever changes a token, a role or an environment calls ``changed``, and the next
request reads the rows again. So a revoked token, or a role that was taken away, counts from the next request on.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from windlass.wire.messages import identity as messages


@dataclasses.dataclass(frozen=True)
class Principal:
    """Somebody with a token. Whoever comes by the server's own Unix socket without one owns the machine: ``None``."""

    principal_id: str
    name: str
    kind: str
    """owner, manager, member, viewer or service."""
    environments: Mapping[str, str]
    """Roles of its own, by the id of the environment."""
    token_id: str = ""
    scope: frozenset[str] = frozenset()
    """Ids of the environments that its token is limited to; none: no such limit."""
    expires_at: float | None = None


class Part(NamedTuple):
    """An environment, as rights see it."""

    id: str
    name: str
    default_role: str


class Flow:
    """Somebody who asks for a token (``apply.flows``)."""

    __slots__ = ("callback", "code", "done", "ends_at", "expires_in", "id", "made", "name", "secret", "source")

    def __init__(
        self, *, id: str, code: str, secret: str, name: str, callback: str, source: str, ends_at: float,
        expires_in: float | None,
    ) -> None:  # fmt: skip
        self.id = id
        self.code = code
        """What both sides see."""
        self.secret = secret
        """What only the one who asks knows."""
        self.name = name
        self.callback = callback
        self.source = source
        self.ends_at = ends_at
        self.expires_in = expires_in
        self.made: messages.TokenCreated | None = None
        self.done = asyncio.Event()


class Identity:
    """What is remembered, and who is connected."""

    def __init__(self) -> None:
        self.principals: dict[str, Principal] = {}
        """By token."""
        self.parts: dict[str, Part] | None = None
        """Environments by name."""
        self.restricted: bool | None = None
        """Whether there is an environment that is not open to all."""
        self.refused: dict[tuple[str, str], float] = {}
        """When the audit log last told of somebody who was refused something."""
        self.flows: dict[str, Flow] = {}
        self.budgets: dict[str, Any] = {}
        """How many requests each principal may make now (``decide.rights.Budget``)."""
        self.connected: dict[Any, str] = {}
        """The token of each connection that came with one."""

    def changed(self) -> None:
        """Read the rows again before the next decision."""
        self.principals.clear()
        self.parts = None
        self.restricted = None
