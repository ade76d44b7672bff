"""Looks for functions whose time has come: at that time, and at each tick, because clocks may be set anew."""

from __future__ import annotations

import logging

from windlass.server.apply import core as core_module
from windlass.server.apply import firings

Core = core_module.Core
_log = logging.getLogger(__name__)


async def run(core: Core) -> None:
    while True:
        try:
            firings.look(core)
        except Exception as exc:  # noqa: BLE001 - a loop's tick: log, and try again at the next
            _log.exception("looking for scheduled functions failed")
            core.turn.abandon(exc)
            await core.clock.sleep(core.settings.tick)
        await core.firings.wait(max(0.0, min(core.settings.tick, firings.patience(core))))
