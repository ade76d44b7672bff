"""Cancelling calls: what waits ends at once, what runs is told to stop, innocents run again."""

from __future__ import annotations

from windlass.server.apply import containers, pending
from windlass.server.apply import core as core_module
from windlass.server.apply import work as work_actions
from windlass.server.state import machines, moves, work
from windlass.server.store import calls

Core = core_module.Core
GRACE = 40.0
"""Seconds that a runner has to stop a cancelled input before its container is killed."""


def cancel(core: Core, call: work.Call, *, terminate_containers: bool = False, why: str = "cancelled") -> None:
    """No input of ``call`` runs again."""
    if call.done_at is not None:
        return
    core.turn.begin()
    if not call.cancelled:
        call.cancelled = call.closed = True
        calls.set_cancelled(core.db, call)
    _stop_running(core, call, terminate_containers=terminate_containers)
    if not sweep(core, call, why):
        core.world.cancelling[call.n] = call
        core.scheduler.set()
    work_actions.check_done(core, call)


def sweep(core: Core, call: work.Call, why: str = "cancelled") -> bool:
    """End (some of) the waiting inputs of a cancelled call; True when none is left."""
    body = work_actions.own_failure(why)
    done = pending.end_waiting(core, call, moves.Status.TERMINATED, body)
    if done:
        core.world.cancelling.pop(call.n, None)
        work_actions.check_done(core, call)
    return done


def _stop_running(core: Core, call: work.Call, *, terminate_containers: bool) -> None:
    for container in list(call.function.containers.values()):
        running = [item for item in container.held.values() if item.call is call]
        if not running:
            continue
        if terminate_containers:
            for item in running:
                work_actions.fail_for(core, item, moves.Status.TERMINATED, "cancelled")
            containers.kill(core, container, "terminated with a cancelled call", say=False)
        else:
            core.turn.after.append(lambda c=container, r=running: _tell(c, r))  # type: ignore[misc]


def _tell(container: machines.Container, running: list[work.Input]) -> None:
    if container.peer is not None:
        held = [{"input_id": item.id, "attempt": item.attempt} for item in running]
        container.peer.notify("runner.cancel", {"inputs": held})


def cancel_for_client(core: Core, client: str) -> None:
    """A caller has gone: nobody waits for its calls any more."""
    for n in calls.open_of_client(core.db, client):
        call = work_actions.call_by_n(core, n)
        if call is not None:
            cancel(core, call, why="its caller has gone")


def cancel_function(core: Core, function: machines.Function, why: str) -> None:
    """All calls of a function, whose app stops."""
    core.turn.begin()
    core.turn.flush()
    for n in calls.open_of_function(core.db, function.n):
        call = work_actions.call_by_n(core, n)
        if call is not None:
            cancel(core, call, why=why)
