"""The life of sandboxes: asked for, placed, running, ended. The server owns it: whoever asked may be gone.

A sandbox has one container, and its end is the sandbox's. Those for which no machine has room wait in the order in
which they came.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import containers, schedule, variants
from windlass.server.apply import core as core_module
from windlass.server.apply import logs as log_actions
from windlass.server.decide import gpus
from windlass.server.decide import place as places
from windlass.server.decide import sandboxes as decisions
from windlass.server.decide import variants as variant_decisions
from windlass.server.state import machines, moves
from windlass.server.state import sandboxes as state
from windlass.server.store import apps, sandboxes
from windlass.wire.messages import sandboxes as messages
from windlass.wire.messages import workers as worker_messages

Core = core_module.Core
_LASTING = {"running": moves.SandboxState.RUNNING, "finished": moves.SandboxState.FINISHED}


def create(core: Core, app: machines.App, body: messages.SandboxCreate) -> state.Sandbox:
    """Accept a sandbox, and start it where there is room. Raises ``AlreadyExistsError`` where its name is taken."""
    name = body.get("name", "")
    if name and any(one.name == name and one.app is app for one in core.world.sandboxes.values()):
        raise exception.AlreadyExistsError(
            f"a sandbox named {name!r} runs in this app already", hint="Terminate it first, or use Sandbox.from_name()."
        )
    check_room(core, app, 1)
    one = state.Sandbox(
        n=core.counters.sandbox, identity=body["sandbox_id"], app=app, name=name, tags=body.get("tags", {}),
        spec=body["spec"],
    )  # fmt: skip
    one.created_at = one.idle_since = core.clock.now()
    core.turn.begin()
    sandboxes.insert(core.db, one)
    core.counters.sandbox += 1
    core.world.sandboxes[one.id] = one
    place(core, one.created_at)
    return one


def check_room(core: Core, app: machines.App, more: int) -> None:
    """Raises ``ResourceExhaustedError`` where the app may not have so many more."""
    most, has = core.settings.app_sandboxes, len(of_app(core, app.id))
    if has + more > most:
        raise exception.ResourceExhaustedError(
            f"this app has {has:,} sandboxes already; {most:,} is the most it may have",
            hint="Terminate some, or raise WINDLASS_SERVER_APP_SANDBOXES.",
        )


def pool(core: Core, app: machines.App) -> machines.Function:
    """What the sandboxes of an app are containers of."""
    known = core.world.pools.get(app.id)
    if known is not None:
        return known
    spec = decisions.pool()
    bounds = variant_decisions.bounds(spec, is_variant=False)
    made = machines.Function(
        n=apps.next_function(core.db), identity=ids.new("fu"), app=app, spec=spec, autoscaler=bounds
    )
    apps.insert_function(core.db, made)
    variants.remember(core, made)
    core.world.pools[app.id] = made
    return made


def place(core: Core, now: float) -> None:
    """Containers for those that wait, first come first served: who needs more is not overtaken for ever."""
    waiting = [one for one in core.world.sandboxes.values() if one.state == moves.SandboxState.QUEUED]
    if not waiting:
        return
    nodes = {node.name: node._replace(containers=0) for node in schedule.nodes_now(core, now)}
    here = collections.Counter(one.container.node for one in core.world.sandboxes.values() if one.container)
    for one in waiting:
        memory = one.spec["memory_request"] or decisions.MEMORY
        fitting = [
            node for name, node in nodes.items()
            if places.fits(node, memory) and here[name] < core.settings.max_sandboxes
            and not core.world.workers[name].levels.get(one.spec.get("runtime", "container"), "")
        ]  # fmt: skip
        if not fitting:
            return
        chosen = _chosen(fitting, one.spec.get("gpus", []))
        if chosen is None:
            continue  # it waits for GPUs, which those behind it may not need
        best, devices = chosen
        left = tuple(gpu for gpu in best.gpus if gpu.id not in devices)
        nodes[best.name] = best._replace(promised=best.promised + memory, gpus=left)
        here[best.name] += 1
        core.turn.begin()
        worker = core.world.workers[best.name]
        one.container = containers.start(core, pool(core, one.app), worker, one, gpus=devices)
        _move(core, one, moves.SandboxState.STARTING)


def _chosen(fitting: list[places.Node], wanted: gpus.Wanted) -> tuple[places.Node, tuple[str, ...]] | None:
    """The emptiest machine that has what is wanted, and which of its GPUs."""
    for node in sorted(fitting, key=lambda node: node.promised / (node.memory or 1)):
        devices = gpus.choose(node.gpus, wanted) if wanted else ()
        if devices is not None:
            return node, devices
    return None


def position(core: Core, one: state.Sandbox) -> int:
    """How many wait for room until it has some; 0 where it does not wait."""
    if one.state != moves.SandboxState.QUEUED:
        return 0
    return sum(1 for o in core.world.sandboxes.values() if o.state == moves.SandboxState.QUEUED and o.n <= one.n)


def heard(core: Core, one: state.Sandbox, real: worker_messages.ContainerReality) -> None:
    """What its worker says of it."""
    now = core.clock.now()
    if real["state"] == "running" and one.state < moves.SandboxState.RUNNING:
        one.started_at = one.idle_since = now
        if one.container is not None:
            one.container.started_at = now
            containers.move(core, one.container, moves.ContainerState.READY)
        _move(core, one, moves.SandboxState.RUNNING)
    if (execs := real.get("execs", 0)) != one.execs:
        one.execs, one.idle_since = execs, now
    if real.get("ready") and one.ready_at is None:
        one.ready_at = now
        _move(core, one, one.state)


def visited(core: Core, identity: str, change: int) -> None:
    """So many connections from outside more, or less; while there are any, it is not idle."""
    left = core.web.visiting.get(identity, 0) + change
    if left > 0:
        core.web.visiting[identity] = left
    else:
        core.web.visiting.pop(identity, None)
    if (one := core.world.sandboxes.get(identity)) is not None:
        used(core, one)


def used(core: Core, one: state.Sandbox) -> None:
    """Somebody does something with it."""
    one.idle_since = core.clock.now()


def terminate(core: Core, one: state.Sandbox, why: str = "terminated", message: str = "") -> None:
    """End it now. What is said first is why it ended."""
    if not one.alive or one.why:
        return
    core.turn.begin()
    one.why, one.message = why, message
    if one.container is None:
        ended(core, one, {"reason": "stopped"})
        return
    sandboxes.update(core.db, one)
    containers.kill(core, one.container, why, say=False)


def ended(core: Core, one: state.Sandbox, exit: machines.Exit) -> None:
    """Its container is gone, or it never had one."""
    if not one.alive:
        return
    core.turn.begin()
    said = one.message
    one.code, one.why, one.message = decisions.ending(one.why, exit)
    one.message = one.message or said
    one.ended_at = core.clock.now()
    _move(core, one, moves.SandboxState.FINISHED)
    core.world.sandboxes.pop(one.id, None)
    sandboxes.forget_ports(core.db, one.n)
    if core.web.ports is not None:
        core.turn.after.append(functools.partial(core.web.ports.forget, one))
    log_actions.tell_later(core, one.app.n)
    core.scheduler.set()


def app_stopped(core: Core, app: machines.App) -> None:
    for one in of_app(core, app.id):
        terminate(core, one, message="its app was stopped")


def of_app(core: Core, app_id: str) -> list[state.Sandbox]:
    return [one for one in core.world.sandboxes.values() if one.app.id == app_id]


def look(core: Core, now: float) -> None:
    """End those whose time is over."""
    for one in list(core.world.sandboxes.values()):
        if one.started_at is not None and not one.why:
            busy = one.execs + core.web.visiting.get(one.id, 0)
            why = decisions.overdue(one.spec, one.started_at, one.idle_since, busy, now)
            if why:
                terminate(core, one, why)


def reached(one: state.Sandbox, until: str) -> bool:
    """Whether it is as far as somebody waits for. One that has ended is further than all,
    and one without a probe has nothing to wait for."""
    if until == "ready":
        return one.ready_at is not None or "probe" not in one.spec or not one.alive
    return one.state >= _LASTING[until]


def when(core: Core, one: state.Sandbox, until: str, then: Callable[[], None]) -> Callable[[], None]:
    """Call ``then`` once it is so far, at once where it is; gives what to call to wait no more."""
    if reached(one, until):
        then()
        return lambda: None

    def look_again() -> None:
        if reached(one, until):
            one.waiting.remove(look_again)
            then()

    one.waiting.append(look_again)
    return lambda: one.waiting.remove(look_again) if look_again in one.waiting else None


def _move(core: Core, one: state.Sandbox, to: moves.SandboxState) -> None:
    one.state = to
    core.turn.begin()
    sandboxes.update(core.db, one)
    core.turn.after.append(functools.partial(_tell, one))


def _tell(one: state.Sandbox) -> None:
    for waiting in list(one.waiting):
        waiting()


def info(core: Core, one: state.Sandbox) -> messages.SandboxInfo:
    container = one.container
    return {
        "sandbox_id": one.id, "app_id": one.app.id, "name": one.name, "tags": one.tags,
        "state": moves.SANDBOX_NAMES[one.state], "position": position(core, one),
        "ready": one.ready_at is not None, "probed": "probe" in one.spec,
        "container_id": "" if container is None else container.id,
        "created_at": one.created_at, "started_at": one.started_at, "ended_at": one.ended_at, "code": one.code,
        "why": one.why, "message": one.message,
    }  # fmt: skip


def info_of_row(row: sandboxes.Row) -> messages.SandboxInfo:
    """The same of one that has ended."""
    return {
        "sandbox_id": row.id, "app_id": row.app_id, "name": row.name, "tags": row.tags,
        "state": moves.SANDBOX_NAMES[moves.SandboxState(row.state)], "position": 0,
        "ready": row.ready_at is not None, "probed": "probe" in row.spec,
        "container_id": row.container_id or "",
        "created_at": row.created_at, "started_at": row.started_at, "ended_at": row.ended_at, "code": row.code,
        "why": row.why, "message": row.message,
    }  # fmt: skip


def load(core: Core, by_n: dict[int, machines.Container]) -> None:
    """Those that live, from their rows. Whatever has no container any more has ended meanwhile."""
    for function in core.world.functions.values():
        if function.tag == decisions.POOL:
            core.world.pools[function.app.id] = function
    for row in _living(core):
        one = core.world.sandboxes[row.id]
        if row.container is None:
            continue
        container = by_n.get(row.container)
        if container is None:
            core.turn.begin()
            ended(core, one, {"reason": "lost", "message": "its container was lost"})
            continue
        one.container, container.sandbox = container, one
        container.spec = decisions.container(one.spec)
        container.lost_at = container.kill_at = None  # no runner of ours is in there


def _living(core: Core) -> Iterable[sandboxes.Row]:
    rows = sandboxes.living(core.db)
    now = core.clock.now()
    for row in rows:
        if (app := core.world.apps.get(row.app_id)) is None:
            continue
        one = state.Sandbox(n=row.n, identity=row.id, app=app, name=row.name, tags=row.tags, spec=row.spec)
        one.state = moves.SandboxState(row.state)
        one.created_at, one.started_at, one.ready_at = row.created_at, row.started_at, row.ready_at
        one.why, one.message, one.idle_since = row.why, row.message, now
        core.world.sandboxes[one.id] = one
    return [row for row in rows if row.id in core.world.sandboxes]
