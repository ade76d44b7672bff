"""The life of containers: wanted, starting, ready, stopping, gone; and what their end means for their inputs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from windlass.kit import ids
from windlass.server.apply import accounting, pending, records
from windlass.server.apply import core as core_module
from windlass.server.apply import gpus as gpu_actions
from windlass.server.apply import logs as log_actions
from windlass.server.apply import work as work_actions
from windlass.server.decide import attempts
from windlass.server.decide import sandboxes as decisions
from windlass.server.decide import web as web_decisions
from windlass.server.state import clusters, machines, moves, sandboxes, work
from windlass.server.state import records as record_state
from windlass.server.store import containers, logs
from windlass.wire.messages import containers as messages

Core = core_module.Core
_log = logging.getLogger(__name__)
_LAST_LINES = 20


def start(
    core: Core,
    function: machines.Function,
    worker: machines.Worker,
    sandbox: sandboxes.Sandbox | None = None,
    gpus: tuple[str, ...] = (),
    cluster: clusters.Cluster | None = None,
    rank: int = 0,
) -> machines.Container:
    """Decide that a container shall be, with these devices; the worker hears of it after the commit."""
    n = core.counters.container
    now = core.clock.now()
    container = machines.Container(n=n, identity=ids.new("ta"), function=function, node=worker.node, created_at=now)
    container.gpus, container.cluster, container.rank = gpus, cluster, rank
    if cluster is not None:
        cluster.members[rank] = container
    if sandbox is not None:
        container.sandbox, container.spec = sandbox, decisions.container(sandbox.spec)
    containers.insert(core.db, container)
    core.counters.container = n + 1
    function.last_start = now
    function.containers[container.id] = container
    core.world.containers[container.id] = container
    want_later(core, worker.node)
    return container


def want_later(core: Core, node: str) -> None:
    """After the commit, send the worker the whole of what is wanted (once a turn)."""
    core.turn.begin()
    if node not in core.dirty_nodes:
        core.dirty_nodes.add(node)
        core.turn.after.append(lambda: send_want(core, node))


def send_want(core: Core, node: str) -> None:
    core.dirty_nodes.discard(node)
    worker = core.world.workers.get(node)
    if worker is None:
        return
    wanted = [
        {"container_id": c.id, "state": c.want, "grace": grace(core, c)}
        for c in core.world.containers.values()
        if c.node == node
    ]
    worker.peer.notify("worker.want", {"containers": wanted, "builds": gpu_actions.builds_for(core, worker)})


def send_templates(core: Core, node: str, *, but: Collection[str] = ()) -> None:
    """Tell the worker for which functions templates are worth their memory: those of living apps ``but`` these."""
    worker = core.world.workers.get(node)
    snapshots = [f for f in core.world.functions.values() if f.spec.get("snapshot") and f.app.alive]
    living = [f.id for f in snapshots if f.id not in but]
    if worker is not None and (living or but or worker.has_templates):
        worker.has_templates = bool(living)
        worker.templates = [name for name in worker.templates if name not in but]
        worker.peer.notify("worker.templates", {"functions": living})


def move(core: Core, container: machines.Container, state: moves.ContainerState) -> bool:
    """Let a container grow older; False when it is that old already."""
    if not moves.container_may(container.state, state):
        return False
    container.state = state
    if state != moves.ContainerState.READY:
        container.function.free.pop(container.id, None)
    core.turn.begin()
    if container.cluster is not None:
        core.turn.dispatch[container.function] = None  # the others follow it
    containers.update(core.db, container)
    return True


def ready(
    core: Core, container: machines.Container, link: Any, held: dict[str, int], phases: dict[str, float]
) -> list[dict[str, Any]]:
    """The runner takes inputs, for the first time or again after a lost connection.

    ``held``: attempts in its hands by input. Returned: those that are no longer its own.
    """
    now = core.clock.now()
    function = container.function
    container.peer, container.lost_at, container.seen_at = link, None, now
    core.turn.begin()
    if container.started_at is None:
        container.started_at, container.phases = now, phases
        function.startup = attempts.smooth(function.startup, now - container.created_at)
        _measure(core, container, now)
    if move(core, container, moves.ContainerState.READY):
        container.idle_since = now
        if not container.outdated:
            function.failures, function.not_before, function.broken = 0, 0.0, False
    for item in list(container.held.values()):
        if held.get(item.id) != item.attempt:
            work_actions.requeue(core, item)
    drop = [
        {"input_id": identity, "attempt": attempt}
        for identity, attempt in held.items()
        if (known := container.held.get(identity)) is None or known.attempt != attempt
    ]
    if cancelled := [{"input_id": i.id, "attempt": i.attempt} for i in container.held.values() if i.call.cancelled]:
        core.turn.after.append(lambda: link.notify("runner.cancel", {"inputs": cancelled}))
    if container.state == moves.ContainerState.READY:
        function.free[container.id] = container
        core.turn.dispatch[function] = None
        if function.rolling:
            core.scheduler.set()
    elif container.state < moves.ContainerState.GONE:
        core.turn.after.append(
            lambda: _tell_stop(core, container, graceful=container.state == moves.ContainerState.DRAINING)
        )
    return drop


def _measure(core: Core, container: machines.Container, now: float) -> None:
    phases = {**container.phases, "whole": now - container.created_at}
    if container.made_at is not None:
        phases["make"] = container.made_at - container.created_at
    for phase, seconds in phases.items():
        core.measures.starts[phase].add(max(0.0, seconds))


def disconnected(core: Core, container: machines.Container, link: Any) -> None:
    """The runner's connection is gone; it has some time to come back."""
    if container.peer is link:
        container.peer = None
        container.lost_at = core.clock.now()
        container.function.free.pop(container.id, None)


def stop(core: Core, container: machines.Container, *, graceful: bool, why: str) -> None:
    """Ask a container to end: after what it runs (graceful), or at once with the inputs given back."""
    state = moves.ContainerState.DRAINING if graceful else moves.ContainerState.STOPPING
    if not move(core, container, state):
        return
    container.draining_why = why
    if not graceful:
        give_back(core, container)
    if not container.held or stateless(container):
        container.kill_at = core.clock.now() + grace(core, container)
    if container.peer is None:
        container.want = "kill" if container.starting or container.started_at is None else "stop"
        containers.update(core.db, container)
        want_later(core, container.node)
    else:
        core.turn.after.append(lambda: _tell_stop(core, container, graceful=graceful))


def _tell_stop(core: Core, container: machines.Container, *, graceful: bool) -> None:
    if container.peer is not None:
        container.peer.notify(
            "runner.stop", {"graceful": graceful, "grace": grace(core, container), "reason": container.draining_why}
        )


def kill(core: Core, container: machines.Container, why: str, *, say: bool = True) -> None:
    """End a container now; its inputs run again elsewhere. ``say``: the user should read why in the log."""
    if not container.alive or container.want == "kill":
        return
    core.turn.begin()
    if not container.draining_why:
        container.draining_why = why
    give_back(core, container)
    move(core, container, moves.ContainerState.STOPPING)
    container.want = "kill"
    containers.update(core.db, container)
    want_later(core, container.node)
    if say:
        log_actions.system(core, container, f"container killed: {why}")


def give_back(core: Core, container: machines.Container) -> None:
    """Its inputs go back to the queue, or end if their call was cancelled."""
    for item in reversed(list(container.held.values())):
        if item.call.cancelled:
            work_actions.fail_for(core, item, moves.Status.TERMINATED, "cancelled")
        elif stateless(container):
            work_actions.fail_for(core, item, moves.Status.TERMINATED, "its container ended")
        else:
            why = work_actions.own_failure(container.draining_why)
            records.ended(core, item, record_state.Outcome.RETURNED, why, final=False)
            work_actions.requeue(core, item)


def gone(core: Core, container: machines.Container, exit: messages.ContainerExit) -> None:
    """The worker says that it has ended (or has lost it). Charge whoever is to blame, give the rest back."""
    if not container.alive:
        return
    core.turn.begin()
    asked = container.state >= moves.ContainerState.DRAINING
    never_ready = container.starting
    crashed = exit.get("reason") in attempts.CRASHES and (not asked or bool(container.held))
    _charge(core, container, exit, crashed=crashed and not never_ready)
    function = container.function
    container.state = moves.ContainerState.GONE
    containers.gone(core.db, container, core.clock.now(), exit)
    accounting.gone(core, container, exit)
    function.free.pop(container.id, None)
    function.containers.pop(container.id, None)
    core.world.containers.pop(container.id, None)
    if container.peer is not None:
        core.turn.after.append(container.peer.close)
    if not asked and (crashed or never_ready) and container.sandbox is None:
        log_actions.system(core, container, attempts.exit_story(exit))
    if never_ready and not asked and exit.get("reason") not in ("stopped", "lost"):
        start_failed(core, container, exit)
    core.turn.dispatch[function] = None
    core.scheduler.set()
    want_later(core, container.node)


def _charge(core: Core, container: machines.Container, exit: messages.ContainerExit, *, crashed: bool) -> None:
    for item in reversed(list(container.held.values())):
        if item.call.cancelled:
            work_actions.fail_for(core, item, moves.Status.TERMINATED, "cancelled")
            continue
        item.container = container  # of a cluster, the one to blame
        if crashed:
            item.crashes += 1
        if item.crashes >= core.settings.crash_budget:
            work_actions.fail_for(core, item, moves.Status.CRASH, _crash_story(item, exit), exit)
        else:
            outcome = record_state.Outcome.CRASH if crashed else record_state.Outcome.RETURNED
            records.ended(core, item, outcome, exit=exit, final=False)
            work_actions.requeue(core, item)


def _crash_story(item: work.Input, exit: messages.ContainerExit) -> str:
    story = attempts.exit_story(exit)
    return f"its container died under it {item.crashes} times; the last time: {story}" if item.crashes > 1 else story


def start_failed(core: Core, container: machines.Container, exit: messages.ContainerExit) -> None:
    """Count a failure before the first input; too many end what waits (ephemeral) or make starts wait (deployed).

    Requests are ended there, too: whoever asked is at the other end, and nobody can answer.
    """
    function = container.function
    if container.outdated or container.sandbox is not None:
        return
    function.failures += 1
    function.last_failure = container.failed or (_start_failure(core, container, exit), work.NO_DATA)
    if function.app.state == moves.AppState.DEPLOYED or any(serves_old(c) for c in function.containers.values()):
        web = bool(web_decisions.webs(function.spec))
        function.not_before = core.clock.now() + attempts.start_backoff(function.failures, web=web)
        ready = any(c.state == moves.ContainerState.READY for c in function.containers.values())
        if web and function.failures >= core.settings.start_failures and not ready:
            body, data = function.last_failure
            pending.end_requests(core, function, machines.Ending(moves.Status.INIT_FAILURE, body, data))
    elif function.failures >= core.settings.start_failures:
        fail_pending(core, function)


def _start_failure(core: Core, container: machines.Container, exit: messages.ContainerExit) -> bytes:
    story = attempts.exit_story(exit)
    last = logs.last_of_container(core.db, container.function.app.n, container.n, _LAST_LINES)
    return work_actions.own_failure(f"{story}\nlast lines of its log:\n{last}" if last else story, exit)


def fail_pending(core: Core, function: machines.Function) -> None:
    """All that waits for this function fails with the last start failure; then the count begins anew."""
    body, data = function.last_failure or (None, work.NO_DATA)
    pending.empty(core, function, machines.Ending(moves.Status.INIT_FAILURE, body, data))
    function.failures, function.broken = 0, True
    for container in list(function.containers.values()):
        if container.starting:
            stop(core, container, graceful=False, why="the function's containers cannot start")


def stateless(container: machines.Container) -> bool:
    """Whether it is a server's: its requests are its own, and end with it."""
    return bool(container.spec.get("web", {}).get("stateless"))


def grace(core: Core, container: machines.Container) -> float:
    """Seconds between asking it to stop and killing it."""
    return core.settings.stop_grace + container.spec.get("web", {}).get("grace", 0.0)


def serves_old(container: machines.Container) -> bool:
    """Whether it takes inputs for a version that is not the current one."""
    return container.outdated and container.state == moves.ContainerState.READY


def memory_of(of: machines.Function | machines.Container) -> int:
    """MiB that a container of a function is promised, or that this one was."""
    return of.spec["memory_request"] or 128


def runner_failed(core: Core, container: machines.Container, body: bytes, data: work.Data) -> None:
    """The runner says why the user's code did not start. It exits next; its exit is what counts."""
    container.failed = (body, data)
