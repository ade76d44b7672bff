"""Leasing: queued inputs of a function go to its free containers, at the end of each turn in which either changed."""

from __future__ import annotations

from windlass.server.apply import calls as call_actions
from windlass.server.apply import core as core_module
from windlass.server.apply import work as work_actions
from windlass.server.decide import attempts, capacity
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
        allowed = capacity.of(function.spec, function.seconds, function.autoscaler)
        if allowed.shared:
            _share_out(core, function, allowed)
            continue
        limit = allowed.most
        container = _next(function)
        room = limit - len(container.held)
        if room <= 0 or container.state != moves.ContainerState.READY:
            del free[container.id]
            continue
        count = 1
        if room > 1 and len(function.ready) > 1:
            count = min(room, attempts.share(len(function.ready), len(free), function.seconds))
        _lease(core, function, container, count, allowed)
        if len(container.held) >= limit or function.ready:
            free.pop(container.id, None)


def lease_to(core: Core, container: machines.Container, item: work.Input) -> None:
    """Lease what has just been queued to the container that was chosen for it."""
    function = container.function
    function.ready.remove(item)
    function.ready.appendleft(item)
    allowed = capacity.of(function.spec, function.seconds, function.autoscaler)
    _lease(core, function, container, 1, allowed)


def _next(function: machines.Function) -> machines.Container:
    """The warmest of the free ones; while a new version comes up, the warmest that has it."""
    return _preferred(function)[-1] if function.rolling else next(reversed(function.free.values()))


def _preferred(function: machines.Function) -> list[machines.Container]:
    """The free ones; while a new version comes up those that have it, if any."""
    free = list(function.free.values())
    return ([c for c in free if not c.outdated] or free) if function.rolling else free


def _share_out(core: Core, function: machines.Function, allowed: capacity.Capacity) -> None:
    """Where containers hold several inputs: the fullest below its target first, so that batches get full and others
    may go cold; beyond their targets only when all have reached them. A container that cannot take what comes next
    is free again when something it holds has ended."""
    free = function.free
    for container in [c for c in free.values() if c.state != moves.ContainerState.READY]:
        del free[container.id]
    able = _preferred(function)
    below = [c for c in able if len(c.held) < capacity.within(allowed, c.slots).target]
    if below:
        container = max(reversed(below), key=lambda c: len(c.held))
    elif able:
        container = min(able, key=lambda c: len(c.held))
    else:
        return
    own = capacity.within(allowed, container.slots)
    limit = own.target if below else own.most
    held = len(container.held)
    count = capacity.portion(
        allowed, held=held, room=limit - held, queued=len(function.ready), free=len(below) or len(able)
    )
    if count > 0:
        _lease(core, function, container, count, allowed)
    if len(container.held) >= own.most or (len(container.held) == held and function.ready):
        free.pop(container.id, None)


def _lease(
    core: Core, function: machines.Function, container: machines.Container, count: int, allowed: capacity.Capacity
) -> None:
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
        alone = item.crashes and capacity.alone(item.crashes, allowed, core.settings.crash_budget)
        if alone and held:
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
        if alone:
            function.free.pop(container.id, None)
        if alone or size > _MAX_BYTES:
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
        item.queued_at = call.created_at  # rows do not say when they came: at the latest then
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
        item.state, item.queued_at = moves.InputState.READY, now
        function.ready.appendleft(item)
        core.turn.change(item)
    core.turn.dispatch[function] = None
