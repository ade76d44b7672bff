"""Connections that somebody inside makes for somebody outside: each is promised by a ticket, and claimed with it once.

    visitor ──► edge ── "come, with this ticket" ──► worker, container ── hello (ticket) ──► web.sock: joined
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

Arrive = Callable[[asyncio.Transport, bytes], None]
"""Takes over a connection, and what has come by it already."""


class Visits:
    """Tickets that were given out and not claimed. Nobody can guess one, so whoever shows it was asked to."""

    def __init__(self) -> None:
        self._promised: dict[str, Arrive] = {}

    def promise(self, arrive: Arrive) -> str:
        ticket = secrets.token_urlsafe(24)
        self._promised[ticket] = arrive
        return ticket

    def forget(self, ticket: str) -> None:
        self._promised.pop(ticket, None)

    def claim(self, ticket: str, transport: asyncio.Transport, early: bytes) -> bool:
        """Whether somebody waits for it."""
        arrive = self._promised.pop(ticket, None)
        if arrive is None:
            return False
        arrive(transport, early)
        return True
