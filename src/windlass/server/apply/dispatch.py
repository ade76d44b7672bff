"""Leasing: queued inputs of a function go to its free containers, at the end of each turn in which either changed."""

from __future__ import annotations

from windlass.server.apply import calls as call_actions
from windlass.server.apply import core as core_module
from windlass.server.apply import work as work_actions
from windlass.server.decide import attempts
from windlass.server.state import machines, moves, work
from windlass.server.store import inputs

Core = core_module.Core
_REFILL = 1000
_MAX_BYTES = 4 * 1024 * 1024
"""Of payloads in one notice of leases."""


def dispatch(core: Core, function: machines.Function) -> None:
    """Lease as much as fits. The warmest container first, so that the others may go cold."""
    free = function.free
    while free and (function.ready or function.spilled):
        if not function.ready:
            refill(core, function)
            if not function.ready:
                return
        limit = attempts.capacity(function.seconds, single_use=function.spec["single_use"])
        container = _next(function)
        room = limit - len(container.held)
        if room <= 0 or container.state != moves.ContainerState.READY:
            del free[container.id]
            continue
        count = 1 if room == 1 else min(room, attempts.share(len(function.ready), len(free), function.seconds))
        _lease(core, function, container, count)
        if len(container.held) >= limit or function.ready:
            free.pop(container.id, None)


def _next(function: machines.Function) -> machines.Container:
    """The warmest of the free ones; while a new version comes up, the warmest that has it."""
    free = reversed(function.free.values())
    if not function.rolling:
        return next(free)
    return next((c for c in free if not c.outdated), None) or next(reversed(function.free.values()))


def _lease(core: Core, function: machines.Function, container: machines.Container, count: int) -> None:
    now, turn, ready, held = core.clock.now(), core.turn, function.ready, container.held
    leased = turn.leases.get(container)
    if leased is None:
        leased = turn.leases[container] = []
    size = 0
    while count and ready:
        item = ready.popleft()
        if item.call.cancelled:
            work_actions.fail_for(core, item, moves.Status.TERMINATED, "cancelled")
            continue
        if item.crashes and held:
            # Its last container died: it runs alone, so that it cannot take others with it again.
            ready.appendleft(item)
            break
        if item.data.inline is None and item.data.blob is None:
            core.turn.flush()
            item.data = inputs.large(core.db, item.key)
        size += item.data.size
        item.state = moves.InputState.LEASED
        item.attempt += 1
        item.container = container
        item.leased_at = now
        held[item.id] = item
        function.running += 1
        leased.append(item)
        if not item.fresh:
            turn.changed[item.key] = item
        count -= 1
        if item.crashes or size > _MAX_BYTES:
            break


def refill(core: Core, function: machines.Function) -> None:
    """Take queued rows into the empty window."""
    core.turn.begin()
    core.turn.flush()
    rows = inputs.ready(core.db, function.n, min(_REFILL, core.settings.window))
    for row in rows:
        call = call_actions.by_n(core, row.key >> work.INDEX_BITS)
        if call is None:
            continue
        item = work.Input(call, row.key & work.INDEX_MASK, row.data)
        item.attempt, item.retries, item.crashes = row.attempt, row.retries, row.crashes
        call.in_memory += 1
        function.ready.append(item)
    function.spilled = max(0, function.spilled - len(rows)) if len(rows) == min(_REFILL, core.settings.window) else 0


def recount(core: Core, function: machines.Function) -> None:
    """Ask the rows how many queued inputs there are beside those in memory."""
    core.turn.begin()
    core.turn.flush()
    function.spilled = max(0, inputs.count_ready(core.db, function.n) - len(function.ready))


def wake_delayed(core: Core, function: machines.Function, now: float) -> None:
    """Retries whose time has come join the queue."""
    due = [item for item in function.delayed.values() if item.not_before <= now]
    if not due:
        return
    core.turn.begin()
    for item in due:
        del function.delayed[item.key]
        item.state = moves.InputState.READY
        function.ready.appendleft(item)
        core.turn.change(item)
    core.turn.dispatch[function] = None
