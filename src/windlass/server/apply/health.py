"""Whether the server can do its work: its database takes a commit, and a worker is there."""

from __future__ import annotations

import asyncio

from windlass import exception
from windlass.server.apply import core as core_module

Core = core_module.Core
_PATIENCE = 5.0
_FRESH = 2.0
"""Seconds for which a commit tells that the next one will do, too: asking often must not write often."""


class Health:
    """Asked by the door of operations."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._seen = -1
        self._at = float("-inf")

    async def gaps(self) -> list[str]:
        """What is missing; nothing when calls can be taken and run."""
        core = self._core
        found = [] if core.world.workers else ["no worker is connected"]
        if core.low_disk:
            return [*found, core.low_disk]
        if not await self._commits():
            found.append("the database takes no commits")
        return found

    async def _commits(self) -> bool:
        now, turn = self._core.clock.monotonic(), self._core.turn
        if turn.commits == self._seen and now - self._at < _FRESH:
            return True
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            turn.begin()
            self._core.db.touch()
            turn.after.append(lambda: None if done.done() else done.set_result(None))
            await asyncio.wait_for(done, _PATIENCE)
        except exception.Error as exc:
            if turn.is_open:
                turn.abandon(exc)
            return False
        except asyncio.TimeoutError:
            return False
        self._seen, self._at = turn.commits, self._core.clock.monotonic()
        return True
