"""Forgets what nobody will ask for again, a little at a time."""

from __future__ import annotations

import functools
import logging

from windlass.server.apply import core as core_module
from windlass.server.store import apps, calls

Core = core_module.Core
_log = logging.getLogger(__name__)
_EVERY = 5.0
_SOON = 0.1
_REMEMBER_EXPIRED = 90 * 86400.0


async def run(core: Core) -> None:
    while True:
        try:
            more = look(core)
        except Exception as exc:  # noqa: BLE001 - a loop's tick: log, and try again at the next
            _log.exception("forgetting old data failed")
            core.turn.abandon(exc)
            more = False
        await core.clock.sleep(_SOON if more else _EVERY)


def look(core: Core) -> bool:
    """One look: at most some hundred calls and one app. True when more is waiting."""
    now = core.clock.now()
    old = calls.expired(core.db, now - core.settings.keep_sync, sync=True)
    old += calls.expired(core.db, now - core.settings.keep_spawn, sync=False)
    stale = apps.expired(core.db, now - core.settings.keep_app)
    if not old and not stale:
        return False
    core.turn.begin()
    for n in old:
        call = core.world.calls_by_n.pop(n, None)
        if call is not None:
            core.world.calls.pop(call.part, None)
        for digest in calls.delete(core.db, n, now):
            core.turn.after.append(functools.partial(core.blobs.delete, digest))
    calls.forget_expired(core.db, now - _REMEMBER_EXPIRED)
    for n in stale[:1]:
        apps.delete(core.db, n)
    return len(old) >= 500 or bool(stale)
