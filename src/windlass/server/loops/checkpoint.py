"""Moves the database's log into the database, in a thread: the copying and its syncs must not stop the server."""

from __future__ import annotations

import asyncio
import logging

from windlass import exception
from windlass.server.apply import core as core_module

Core = core_module.Core
_log = logging.getLogger(__name__)
_EVERY = 1.0
_SOME = 4 * 1024 * 1024
_TOO_MUCH = 512 * 1024 * 1024


async def run(core: Core) -> None:
    moved = 0
    while True:
        await core.clock.sleep(_EVERY)
        commits = core.turn.commits
        if commits == moved or core.db.log_size() < _SOME:
            continue
        try:
            await asyncio.to_thread(core.db.checkpoint)
            if core.db.log_size() > _TOO_MUCH and not core.turn.is_open:
                core.db.truncate_log()
            moved = commits
        except exception.Error as exc:
            _log.error("checkpoint: %s", exc)
