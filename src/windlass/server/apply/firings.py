"""Functions that run by themselves: what is due is called, and what comes next is written in the same transaction.

A crash therefore loses no run and repeats none: either there are both the call and the moved time, or neither.
"""

from __future__ import annotations

import functools
import math

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import calls
from windlass.server.apply import core as core_module
from windlass.server.apply import logs as log_actions
from windlass.server.decide import admission
from windlass.server.decide import schedule as decisions
from windlass.server.state import machines
from windlass.server.state import schedules as state
from windlass.server.store import schedules
from windlass.wire import payload
from windlass.wire.messages import calls as call_messages

Core = core_module.Core


def has_schedule(function: machines.Function) -> bool:
    """Pools of the same function for other versions or options have none of their own."""
    current = not function.removed and function.pin is None and function.variant_of is None
    return current and "schedule" in function.spec


def is_active(function: machines.Function) -> bool:
    """Whether it runs by itself: apps that are deployed or served have versions, those that are run have none."""
    return function.app.alive and function.app.version > 0 and has_schedule(function)


def plan(core: Core, functions: list[machines.Function]) -> None:
    """An app was published: its functions' schedules begin, go on or end. Part of that transaction."""
    now = core.clock.now()
    for function in functions:
        entry = core.world.schedules.get(function.n)
        if is_active(function):
            _begin(core, function, entry, now)
        elif entry is not None:
            end(core, function)
    core.firings.set()


def _begin(core: Core, function: machines.Function, entry: state.Entry | None, now: float) -> None:
    planned = decisions.deployed(entry.plan if entry is not None else None, function.spec["schedule"], now)
    if entry is None:
        entry = core.world.schedules[function.n] = state.Entry(function, planned)
    entry.plan = planned
    schedules.put(core.db, entry)


def end(core: Core, function: machines.Function) -> None:
    """It no longer runs by itself."""
    if core.world.schedules.pop(function.n, None) is not None:
        schedules.delete(core.db, function.n)


def load(core: Core) -> None:
    """Memory from rows. Times that have passed since are due: once each, however many there were."""
    for row in schedules.active(core.db):
        function = core.world.functions_by_n.get(row.function)
        if function is not None and is_active(function):
            core.world.schedules[row.function] = state.Entry(function, row.plan, row.fired_at, row.call_id)


def patience(core: Core) -> float:
    """Seconds until the next one is due."""
    due = min((entry.plan.next_at for entry in core.world.schedules.values()), default=math.inf)
    return due - core.clock.now()


def look(core: Core) -> None:
    """Call what is due."""
    if core.low_disk:
        return  # it stays due until there is room
    now = core.clock.now()
    for entry in [e for e in core.world.schedules.values() if e.plan.next_at <= now]:
        core.turn.begin()
        try:
            _call(core, entry.function, ids.new("fc"))
        except exception.Error as exc:
            if core.db.failed is not None:
                raise  # half of the call may be written: none of this turn counts, and it stays due
            log_actions.function(core, entry.function, f"not run by its schedule: {exc}")
        _move(core, entry, now)
        schedules.put(core.db, entry)


def _move(core: Core, entry: state.Entry, now: float) -> None:
    try:
        entry.plan = decisions.fired(entry.plan, now)
    except exception.Error as exc:  # its zone was known once
        log_actions.function(core, entry.function, f"its schedule has ended: {exc}")
        entry.plan = entry.plan._replace(next_at=math.inf)


def run_now(core: Core, function: machines.Function, call_id: str) -> None:
    """Somebody wants it to run. What it does by itself stays as it is."""
    _call(core, function, call_id)
    if (entry := core.world.schedules.get(function.n)) is not None:
        schedules.put(core.db, entry)


def _call(core: Core, function: machines.Function, call_id: str) -> None:
    """One input without arguments. Nobody waits for it, so its result is kept, and its failure logged, as if spawned;
    but its queue is that of calls that somebody waits for."""
    data, running = payload.NO_ARGUMENTS, function.running
    limits = admission.Limits(core.settings.sync_waiting, core.settings.sync_total)
    admission.check_queue(
        unfinished=function.queued + running, running=running, more=1, limits=limits, tag=function.tag
    )
    request: call_messages.CallCreate = {
        "call_id": call_id,
        "function_id": function.id,
        "kind": "spawn",
        "inputs": [{"index": 0, "payload": {"at": 0, "size": len(data)}}],
        "closed": True,
    }
    made = calls.create(core, request, [data], None)
    core.turn.after.append(functools.partial(calls.release, core, made))
    if (entry := core.world.schedules.get(function.n)) is not None:
        entry.fired_at, entry.call_id = core.clock.now(), call_id
