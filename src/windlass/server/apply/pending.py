"""Ending what waits: queued inputs in memory, delayed ones, and those that are only rows."""

from __future__ import annotations

from windlass.server.apply import core as core_module
from windlass.server.apply import dispatch
from windlass.server.apply import work as work_actions
from windlass.server.state import machines, moves, work
from windlass.server.store import calls, inputs

Core = core_module.Core
CHUNK = 1000
"""Rows ended in one turn, so that a million of them do not stop the server."""


def end_waiting(
    core: Core, call: work.Call, status: moves.Status, body: bytes | None, data: work.Data = work.NO_DATA
) -> bool:
    """End the waiting inputs of one call; False when rows are left for the next turn."""
    function = call.function
    core.turn.begin()
    for item in [i for i in function.ready if i.call is call]:
        function.ready.remove(item)
        work_actions.finish(core, item, status, body, data)
    for item in [i for i in function.delayed.values() if i.call is call]:
        del function.delayed[item.key]
        item.state = moves.InputState.READY
        work_actions.finish(core, item, status, body, data)
    core.turn.flush()
    rows = inputs.ready_of_call(core.db, call.n, CHUNK)
    for row in rows:
        work_actions.record_end(
            core, call, row.key & work.INDEX_MASK, status, retries=row.retries, body=body, data=data
        )
    if rows:
        dispatch.recount(core, function)
    return len(rows) < CHUNK


def end_pending(
    core: Core, function: machines.Function, status: moves.Status, body: bytes | None, data: work.Data
) -> None:
    """End all that waits for a function."""
    core.turn.begin()
    core.turn.flush()
    for n in calls.open_of_function(core.db, function.n):
        call = work_actions.call_by_n(core, n)
        while call is not None and not end_waiting(core, call, status, body, data):
            pass
