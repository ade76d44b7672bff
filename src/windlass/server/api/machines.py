"""``container.*`` and ``node.*`` for people: list, stop, exec."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import containers as actions
from windlass.server.state import machines, moves
from windlass.wire import peer
from windlass.wire.messages import common
from windlass.wire.messages import containers as messages
from windlass.wire.messages import workers as worker_messages

Core = door.Core


def _find(core: Core, identity: str) -> machines.Container:
    container = core.world.containers.get(identity)
    if container is None:
        raise exception.NotFoundError(
            f"no running container {identity}", hint="`windlass container list` shows what runs."
        )
    return container


@door.handler("container.list")
def listed(core: Core, who: door.Who, body: messages.ContainerList, incoming: peer.Incoming) -> Any:
    app_id = body.get("app_id")
    return {
        "containers": [
            info(c) for c in core.world.containers.values() if app_id is None or c.function.app.id == app_id
        ]
    }


def info(container: machines.Container) -> messages.ContainerInfo:
    function = container.function
    return {
        "container_id": container.id,
        "app_id": function.app.id,
        "app_name": function.app.name or function.app.description,
        "function_id": function.id,
        "function_tag": function.tag,
        "state": moves.CONTAINER_NAMES[container.state],
        "node": container.node,
        "started_at": container.started_at,
        "created_at": container.created_at,
        "made_at": container.made_at,
        "phases": container.phases,
    }


@door.handler("node.list")
def nodes(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> Any:
    return {"nodes": [_node(core, worker) for worker in core.world.workers.values()]}


def _node(core: Core, worker: machines.Worker) -> worker_messages.NodeInfo:
    here = [c for c in core.world.containers.values() if c.node == worker.node]
    holders = {gpu: c.id for c in here for gpu in c.gpus}
    return {
        "node": worker.node,
        "cpus": worker.cpus,
        "memory": worker.memory,
        "promised": sum(actions.memory_of(c) for c in here) * 1048576,
        "containers": len(here),
        "runtime": worker.runtime,
        "gaps": worker.gaps,
        "gpus": [
            {
                "gpu_id": one["gpu_id"],
                "kind": one["kind"],
                "model": one["model"],
                "held_by": holders.get(one["gpu_id"], ""),
            }
            for one in worker.gpus
        ],
    }


@door.handler("container.stop", "container_id")
def stop(core: Core, who: door.Who, body: messages.ContainerStop, incoming: peer.Incoming) -> Any:
    container = _find(core, body["container_id"])
    core.turn.begin()
    actions.stop(core, container, graceful=body.get("graceful", False), why="stopped by a command")
    return {}


@door.handler("container.exec", "container_id", "exec_id", "command")
def execute(core: Core, who: door.Who, body: messages.ContainerExec, incoming: peer.Incoming) -> None:
    worker = _worker(core, _find(core, body["container_id"]))
    if body["exec_id"] in core.execs:
        raise exception.AlreadyExistsError("a command with this id runs already")
    core.execs[body["exec_id"]] = worker, incoming.peer
    task = core.tasks.start(_relay(core, worker, body, incoming), f"exec {body['exec_id']}")
    incoming.on_cancel = functools.partial(_give_up, task)


def _worker(core: Core, container: machines.Container) -> machines.Worker:
    worker = core.world.workers.get(container.node)
    if worker is None:
        raise exception.ServiceError(f"the worker of node {container.node} is not connected")
    return worker


def _give_up(task: asyncio.Task[None]) -> None:
    task.cancel()


async def _relay(core: Core, worker: machines.Worker, body: messages.ContainerExec, incoming: peer.Incoming) -> None:
    stream = worker.peer.stream("exec.start", body)
    try:
        async for item in stream:
            incoming.item(item.body, item.attachments)
            await incoming.peer.drain()
        incoming.end()
    except exception.Error as exc:
        incoming.fail(exc)
    finally:
        await stream.aclose()
        core.execs.pop(body["exec_id"], None)


@door.handler("container.exec_input", "exec_id")
def exec_input(core: Core, who: door.Who, body: messages.ExecInput, incoming: peer.Incoming) -> None:
    worker, whose = core.execs.get(body["exec_id"], (None, None))
    if worker is None or whose is not incoming.peer:
        raise exception.NotFoundError(f"no running command {body['exec_id'][:60]}")
    core.tasks.start(_pass_on(worker, body, incoming), f"exec input {body['exec_id']}")


async def _pass_on(worker: machines.Worker, body: messages.ExecInput, incoming: peer.Incoming) -> None:
    try:
        await worker.peer.request("exec.input", body, incoming.attachments)
        incoming.reply({})
    except exception.Error as exc:
        incoming.fail(exc)
