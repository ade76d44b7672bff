"""Cancelling calls: what waits ends at once, what runs is told to stop, innocents run again."""

from __future__ import annotations

import functools

from windlass.server.apply import calls as call_actions
from windlass.server.apply import containers, pending
from windlass.server.apply import core as core_module
from windlass.server.apply import work as work_actions
from windlass.server.state import machines, moves, work
from windlass.server.store import calls

Core = core_module.Core


def cancel(core: Core, call: work.Call, *, terminate_containers: bool = False, why: str = "cancelled") -> None:
    """No input of ``call`` runs again."""
    if call.done_at is not None:
        return
    core.turn.begin()
    if not call.cancelled:
        call.cancelled = call.closed = True
        call.cancelled_at = core.clock.now()
        calls.set_cancelled(core.db, call)
    _stop_running(core, call, terminate_containers=terminate_containers)
    sweep(core, call, why)


def _ending(why: str) -> machines.Ending:
    return machines.Ending(moves.Status.TERMINATED, work_actions.own_failure(why), work.NO_DATA)


def sweep(core: Core, call: work.Call, why: str = "cancelled") -> None:
    """End the waiting inputs of a cancelled call, now or over the next turns."""
    if pending.end_call(core, call, _ending(why)):
        core.world.cancelling.pop(call.n, None)
        work_actions.check_done(core, call)
    else:
        core.world.cancelling[call.n] = call
        core.scheduler.set()


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
            core.turn.after.append(functools.partial(tell, container, running))


def tell(container: machines.Container, running: list[work.Input]) -> None:
    """Ask a runner to stop these; the deadlines see to it that it does."""
    if container.peer is not None:
        held = [{"input_id": item.id, "attempt": item.attempt} for item in running]
        container.peer.notify("runner.cancel", {"inputs": held})


def cancel_for_client(core: Core, client: str) -> None:
    """A caller has gone: nobody waits for its calls any more. Single calls of a detached app go on all the same."""
    for n in calls.open_of_client(core.db, client):
        call = call_actions.by_n(core, n)
        if call is None:
            continue
        if call.kind != moves.Kind.REMOTE or call.function.app.state != moves.AppState.DETACHED:
            cancel(core, call, why="its caller has gone")


def cancel_function(core: Core, function: machines.Function, why: str) -> None:
    """All calls of a function, whose app stops."""
    core.turn.begin()
    core.turn.flush()
    calls.cancel_all(core.db, function.n)
    now = core.clock.now()
    for call in core.world.calls.values():
        if call.function is function and call.done_at is None and not call.cancelled:
            call.cancelled, call.closed, call.cancelled_at = True, True, now
    for container in function.containers.values():
        if container.held:
            core.turn.after.append(functools.partial(tell, container, list(container.held.values())))
    pending.empty(core, function, _ending(why))


def go_on(core: Core) -> None:
    """Continue with what could not be ended in one turn."""
    for call in list(core.world.cancelling.values()):
        sweep(core, call)
    for function, ending in list(core.world.emptying.values()):
        pending.empty(core, function, ending)
