"""Ending what waits: queued inputs in memory, delayed ones, and those that are only rows.

A million rows are ended over many turns, so that they do not stop the server: what is left is remembered in
``world.cancelling`` and ``world.emptying``, and the scheduler goes on with it.
"""

from __future__ import annotations

from windlass.server.apply import calls as call_actions
from windlass.server.apply import core as core_module
from windlass.server.apply import dispatch, records
from windlass.server.apply import work as work_actions
from windlass.server.state import machines, moves, work
from windlass.server.store import calls, inputs

Core = core_module.Core
CHUNK = 1000
"""Rows of one call ended in one turn."""
CHUNK_OF_CALLS = 300
"""Rows of many calls, which cost more each."""


def end_call(core: Core, call: work.Call, ending: machines.Ending) -> bool:
    """End the waiting inputs of one call; False when rows are left for the next turn."""
    function = call.function
    core.turn.begin()
    mine = [item for item in function.ready if item.call is call]
    if mine:
        others = [item for item in function.ready if item.call is not call]
        function.ready.clear()
        function.ready.extend(others)
    mine += _take_delayed(function, call)
    for item in mine:
        work_actions.finish(core, item, ending.status, ending.body, ending.data)
    core.turn.flush()
    rows = inputs.ready_of_call(core.db, call.n, CHUNK)
    for row in rows:
        _end_row(core, call, row, ending)
    if rows:
        dispatch.recount(core, function)
    return len(rows) < CHUNK


def _take_delayed(function: machines.Function, call: work.Call | None) -> list[work.Input]:
    mine = [item for item in function.delayed.values() if call is None or item.call is call]
    for item in mine:
        del function.delayed[item.key]
        item.state = moves.InputState.READY
    return mine


def _end_row(core: Core, call: work.Call, row: inputs.Row, ending: machines.Ending) -> None:
    records.never_ran(core, call, row, ending)
    index = row.key & work.INDEX_MASK
    seq = work_actions.record_end(
        core, call, index, ending.status, retries=row.retries, body=ending.body, data=ending.data
    )
    core.turn.ended.append((ending.status, seq, row.key))


def end_function(core: Core, function: machines.Function, ending: machines.Ending) -> bool:
    """End what waits at a function, of whatever call; False when rows are left for the next turn."""
    core.turn.begin()
    mine = [*function.ready, *_take_delayed(function, None)]
    function.ready.clear()
    for item in mine:
        work_actions.finish(core, item, ending.status, ending.body, ending.data)
    core.turn.flush()
    rows = inputs.ready(core.db, function.n, CHUNK_OF_CALLS)
    for row in rows:
        call = call_actions.by_n(core, row.key >> work.INDEX_BITS)
        if call is not None:
            _end_row(core, call, row, ending)
    dispatch.recount(core, function)
    return len(rows) < CHUNK_OF_CALLS


def end_requests(core: Core, function: machines.Function, ending: machines.Ending) -> None:
    """End the requests that wait at a function; what has rows goes on waiting."""
    mine = [item for item in function.ready if item.call.transient]
    if not mine:
        return
    core.turn.begin()
    others = [item for item in function.ready if not item.call.transient]
    function.ready.clear()
    function.ready.extend(others)
    for item in mine:
        work_actions.finish(core, item, ending.status, ending.body, ending.data)
    core.turn.flush()
    dispatch.recount(core, function)


def empty(core: Core, function: machines.Function, ending: machines.Ending) -> None:
    """End all that waits at a function, now or over the next turns."""
    if end_function(core, function, ending):
        core.world.emptying.pop(function.n, None)
        _close_books(core, function)
    else:
        core.world.emptying[function.n] = (function, ending)
        core.scheduler.set()


def _close_books(core: Core, function: machines.Function) -> None:
    """Calls that were closed by cancelling them and wait for nothing any more."""
    core.turn.flush()
    for n in calls.open_and_cancelled(core.db, function.n):
        call = call_actions.by_n(core, n)
        if call is not None:
            work_actions.check_done(core, call)
