"""Looks at every function when woken, and at each tick: containers start and stop, retries come back."""

from __future__ import annotations

import logging

from windlass.server.apply import cancel, dispatch, sandboxes, schedule
from windlass.server.apply import core as core_module

Core = core_module.Core
_log = logging.getLogger(__name__)
_PAUSE = 0.010
"""Between two looks: a map that floods the server must not make it scale all the time."""


async def run(core: Core) -> None:
    while True:
        await core.scheduler.wait(_patience(core))
        began = core.clock.monotonic()
        try:
            look(core)
            core.measures.looks.add(core.clock.monotonic() - began)
        except Exception as exc:  # noqa: BLE001 - a loop's tick: log, and try again at the next
            _log.exception("the scheduler's look failed")
            core.turn.abandon(exc)
        await core.clock.sleep(_PAUSE)


def _patience(core: Core) -> float:
    due = [i.not_before for f in core.world.functions.values() for i in f.delayed.values()]
    return max(0.0, min([core.settings.tick, *(t - core.clock.now() for t in due)]))


def look(core: Core) -> None:
    """One look."""
    now = core.clock.now()
    for function in list(core.world.functions.values()):
        if function.delayed:
            dispatch.wake_delayed(core, function, now)
    cancel.go_on(core)
    sandboxes.place(core, now)
    schedule.scale_all(core, now)
