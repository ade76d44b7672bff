"""Asks to be called again and again, and notes how much too late that happens: what all else waits, too."""

from __future__ import annotations

from windlass.server.apply import core as core_module

_EVERY = 0.5


async def run(core: core_module.Core) -> None:
    clock = core.clock
    while True:
        began = clock.monotonic()
        await clock.sleep(_EVERY)
        core.measures.lag.add(max(0.0, clock.monotonic() - began - _EVERY))
