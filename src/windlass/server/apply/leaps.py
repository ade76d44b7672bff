"""The machine's clock was set, or the machine slept: what began before began so much later by the new clock.

Without that, each lease, heartbeat, timeout and pause would seem to have lasted as long as the leap. What people read
as a time of day (logs, records, when something was made) stays as it was noted, and schedules, expiry of tokens and
retention go by the clock as it is; but after a long leap forward nothing is forgotten for a while, because a clock
that was set wrong is set right again, and what was deleted meanwhile would not come back.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

from windlass.server.apply import core as core_module
from windlass.server.state import work
from windlass.server.store import containers, queues, sandboxes

Core = core_module.Core
_log = logging.getLogger(__name__)
_DOUBTFUL = 3600.0  # seconds forward
_CALM = 3600.0  # seconds in which somebody may set such a clock right

_APP = ("heard_at",)
_FUNCTION = ("knocked_at", "last_active", "last_start", "not_before", "rising_at")
_CONTAINER = ("created_at", "idle_since", "kill_at", "lost_at", "made_at", "seen_at", "started_at")
_WORKER = ("seen_at",)
_BUILD = ("wanted_at",)
_SANDBOX = ("created_at", "idle_since", "ready_at", "started_at")
_CALL = ("cancelled_at",)
_INPUT = ("leased_at", "not_before", "queued_at")
_FLOW = ("ends_at",)


def follow(core: Core) -> None:
    """Take over what the clock was set by since the last look, if anything."""
    leap = core.clock.follow()
    if not leap:
        return
    _log.warning("the machine's clock leapt by %+.1f s; what was under way goes on as if it had not", leap)
    if leap > _DOUBTFUL:
        core.calm_until = core.clock.monotonic() + _CALM
    _memory(core, leap)
    _rows(core, leap)
    core.firings.set()
    core.scheduler.set()


def is_calm(core: Core) -> bool:
    """Whether nothing may be forgotten for its age, because the clock may be wrong."""
    return core.clock.monotonic() < core.calm_until


def _memory(core: Core, leap: float) -> None:
    world = core.world
    _move(world.apps.values(), _APP, leap)
    _move(world.functions_by_n.values(), _FUNCTION, leap)
    _move(world.containers.values(), _CONTAINER, leap)
    _move(world.workers.values(), _WORKER, leap)
    _move(world.builds.values(), _BUILD, leap)
    _move(world.sandboxes.values(), _SANDBOX, leap)
    _move(world.calls_by_n.values(), _CALL, leap)
    _move(_inputs(core), _INPUT, leap)
    _move(core.identity.flows.values(), _FLOW, leap)
    _move(core.queues, ("expires_at",), leap)
    for since in (world.gone, world.lost_nodes, core.unknown):
        since.update({name: at + leap for name, at in since.items()})


def _inputs(core: Core) -> Iterator[work.Input]:
    """Each once, though all containers of a cluster hold the same ones."""
    held = itertools.chain.from_iterable(one.held.values() for one in core.world.containers.values())
    yield from {id(item): item for item in held}.values()
    for function in core.world.functions_by_n.values():
        yield from function.ready
        yield from function.delayed.values()


def _move(things: Any, names: tuple[str, ...], leap: float) -> None:
    """0.0 and None mean: never."""
    for thing in things:
        for name in names:
            if at := getattr(thing, name):
                setattr(thing, name, at + leap)


def _rows(core: Core, leap: float) -> None:
    """What the next server goes on with."""
    core.turn.begin()
    containers.move(core.db, leap)
    sandboxes.move(core.db, leap)
    queues.move(core.db, leap)
    for function in core.world.functions_by_n.values():
        for item in function.delayed.values():
            core.turn.change(item)
