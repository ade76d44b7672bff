"""What the handlers of sandboxes share: waiting for what becomes of one, where it runs, when a change is durable."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import sandboxes as actions
from windlass.server.state import machines, moves
from windlass.server.state import sandboxes as state
from windlass.server.store import sandboxes
from windlass.wire import peer
from windlass.wire.messages import sandboxes as messages

Core = door.Core
LONGEST = 60.0


def info(core: Core, identity: str) -> messages.SandboxInfo:
    if (one := core.world.sandboxes.get(identity)) is not None:
        return actions.info(core, one)
    if (row := sandboxes.by_id(core.db, identity)) is not None:
        return actions.info_of_row(row)
    raise exception.NotFoundError(f"no sandbox {identity}")


async def until(core: Core, one: state.Sandbox, far: str, seconds: float) -> None:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    forget = actions.when(core, one, far, lambda: None if over.done() else over.set_result(None))
    try:
        await asyncio.wait_for(over, seconds)
    except asyncio.TimeoutError:
        pass
    finally:
        forget()


async def running(core: Core, identity: str) -> state.Sandbox:
    """Raises ``ConflictError`` where it has ended."""
    while (one := core.world.sandboxes.get(identity)) is not None and one.state < moves.SandboxState.RUNNING:
        await until(core, one, "running", LONGEST)
    if one is None:
        raise exception.ConflictError(f"sandbox {info(core, identity)['sandbox_id']} has finished")
    return one


async def place_of(
    core: Core, one: state.Sandbox | None, identity: str, *, ended: bool
) -> tuple[machines.Worker, str]:
    """Its worker and its container, once it runs. ``ended``: also of one that has ended. Raises ``ConflictError``."""
    while one is not None and one.alive and one.state < moves.SandboxState.RUNNING:
        await until(core, one, "running", LONGEST)
    living = core.world.sandboxes.get(identity)
    row = sandboxes.by_id(core.db, identity) if living is None else None
    if living is None and row is None:
        raise exception.NotFoundError(f"no sandbox {identity}")
    if living is not None and living.container is not None:
        container_id, node = living.container.id, living.container.node
    elif row is not None and row.container_id and row.node and ended:
        container_id, node = row.container_id, row.node
    else:
        story = f": {row.message}" if row is not None and row.message else ""
        raise exception.ConflictError(f"sandbox {identity} has finished{story}")
    worker = core.world.workers.get(node)
    if worker is None:
        raise exception.ServiceError(f"the worker of node {node} is not connected")
    return worker, container_id


async def committed(core: Core) -> None:
    """Until what was changed in this turn is durable."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    core.turn.after.append(lambda: done.set_result(None))
    try:
        await asyncio.wait_for(done, LONGEST)
    except asyncio.TimeoutError:
        raise exception.InternalError("what was changed could not be recorded") from None


def begun(core: Core, identity: str, work: Coroutine[Any, Any, Any], incoming: peer.Incoming) -> None:
    if (one := core.world.sandboxes.get(identity)) is not None:
        actions.used(core, one)
    task = core.tasks.start(_answered(work, incoming), f"{incoming.method} of {identity}")
    incoming.on_cancel = functools.partial(give_up, task)


async def _answered(work: Coroutine[Any, Any, Any], incoming: peer.Incoming) -> None:
    try:
        incoming.reply(await work)
    except asyncio.TimeoutError:
        incoming.fail(exception.TimeoutError("it took longer than its timeout"))
    except exception.Error as exc:
        incoming.fail(exc)


def give_up(task: asyncio.Task[None]) -> None:
    task.cancel()
