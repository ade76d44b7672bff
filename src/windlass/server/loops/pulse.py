"""Asks to be called again and again, and notes how much too late that happens: what all else waits, too.

Runners that have nothing to do are told here that their last results are safe.
"""

from __future__ import annotations

from windlass.server.apply import core as core_module

_EVERY = 0.5


async def run(core: core_module.Core) -> None:
    clock = core.clock
    while True:
        began = clock.monotonic()
        await clock.sleep(_EVERY)
        core.turn.settle()
        core.measures.lag.add(max(0.0, clock.monotonic() - began - _EVERY))
