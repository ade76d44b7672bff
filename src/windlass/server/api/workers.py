"""``worker.*``, ``container.plan`` and ``build.*``: what workers say and ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import door
from windlass.server.apply import blobs, builds, clusters, containers, deployments, nodes, packs, proxies, secrets
from windlass.server.apply import buckets as bucket_actions
from windlass.server.apply import images as image_actions
from windlass.server.apply import logs as log_actions
from windlass.server.apply import nfs as nfs_actions
from windlass.server.apply import volumes as volume_actions
from windlass.server.bus import link
from windlass.server.decide import network, storage
from windlass.server.state import machines, sandboxes
from windlass.wire import peer
from windlass.wire.messages import containers as container_messages
from windlass.wire.messages import workers as messages

Core = door.Core
_SOCKET = "/__windlass/run/server.sock"
_PIDS = 4096
_SAID = 1000  # characters of one line of a worker


def worker_of(core: Core, who: door.Who, incoming: peer.Incoming) -> machines.Worker:
    """The worker that speaks, after its ``worker.hello``."""
    for worker in core.world.workers.values():
        if worker.peer is incoming.peer:
            return worker
    raise exception.ConflictError("say worker.hello first")


@door.handler("worker.hello", "node", "cpus", "memory", "containers")
def hello(core: Core, who: door.Who, body: messages.WorkerHello, incoming: peer.Incoming) -> Any:
    node = body["node"]
    old = core.world.workers.get(node)
    if old is not None and old.peer is not incoming.peer:
        old.peer.close()
    worker = machines.Worker(node, incoming.peer, body)
    worker.seen_at = core.clock.now()
    core.world.workers[node] = worker
    core.world.lost_nodes.pop(node, None)
    core.turn.begin()
    nodes.take(core, node, body["containers"], whole=True)
    containers.want_later(core, node)
    core.scheduler.set()
    here = [c for c in core.world.containers.values() if c.node == node]
    return {"offsets": {c.id: c.log_offset for c in here}}


@door.handler("worker.report")
def report(core: Core, who: door.Who, body: messages.WorkerReport, incoming: peer.Incoming) -> Any:
    worker = worker_of(core, who, incoming)
    worker.seen_at = core.clock.now()
    worker.templates = body.get("templates", [])
    worker.levels = dict(body.get("levels", worker.levels))
    core.turn.begin()
    nodes.take(core, worker.node, body["containers"], whole=body["whole"])
    return {}


@door.handler("worker.said", "container_id")
def said(core: Core, who: door.Who, body: messages.WorkerSaid, incoming: peer.Incoming) -> Any:
    container = core.world.containers.get(body["container_id"])
    if container is not None and container.node == worker_of(core, who, incoming).node:
        log_actions.system(core, container, body["text"][:_SAID])
    return {}


def _lost(core: Core, who: door.Who, lost: link.Link) -> None:
    for node, worker in list(core.world.workers.items()):
        if worker.peer is lost:
            del core.world.workers[node]
            core.world.lost_nodes[node] = core.clock.now()


door.LOST.append(_lost)


@door.handler("worker.logs")
def logs(core: Core, who: door.Who, body: messages.WorkerLogs, incoming: peer.Incoming) -> Any:
    log_actions.store(core, body)
    return {}


@door.handler("container.plan")
def plan(core: Core, who: door.Who, body: container_messages.ContainerRef, incoming: peer.Incoming) -> Any:
    container = core.world.containers.get(body["container_id"])
    if container is None or container.want != "run":
        raise exception.NotFoundError(f"container {body['container_id']} is not wanted any more")
    image_actions.touch(core, container.spec["image_id"])
    mounts = volume_actions.mounts(core, container.spec.get("volumes", []))
    layers = [layer for mount in mounts for layer in mount["layers"]]
    return _when_here(core, incoming, set(container.spec["mounts"]), layers, lambda: _plan(core, container))


def _when_here(
    core: Core, incoming: peer.Incoming, digests: set[str], layers: list[str], answer: Callable[[], Any]
) -> Any:
    """Answer when this machine has the blobs and layers of volumes that the worker will read."""
    if not core.blobs.is_elsewhere:
        return answer()

    async def reply() -> None:
        await blobs.bring(core, digests)
        await packs.ensure(core, incoming.peer, layers)
        incoming.reply(answer())

    core.tasks.start(door.answered(incoming, reply()), incoming.method)
    return None


def _plan(core: Core, container: machines.Container) -> container_messages.ContainerPlan:
    function, spec = container.function, container.spec
    if container.sandbox is not None:
        planned: container_messages.ContainerPlan = _sandbox_plan(core, container, container.sandbox)
        return planned
    token = core.keyring.token(container.id)
    made: Any = {
        **_walls(core, container),
        "token": token,
        "snapshot": spec.get("snapshot", False),
        "runner": {
            "container_id": container.id,
            "token": token,
            "socket": _SOCKET,
            "function_id": function.id,
            "image_id": spec["image_id"],
            "environment": function.app.environment,
            "spec": spec,
            "parameters": function.parameters,
            "app": _layout(core, function),
        },
    }
    if container.cluster is not None:
        made["runner"]["cluster"] = {**clusters.info(core, container.cluster), "rank": container.rank}
    return made  # type: ignore[no-any-return]


def _walls(core: Core, container: machines.Container) -> Any:
    """The part of a plan that does not depend on what runs inside."""
    spec = container.spec
    own = network.plan(spec, proxies.source(core, spec, container.id))
    if spec.get("i6pn"):
        own["address"] = network.private_address(core.keyring.token("the private network"), container.id)
        own["group"] = container.function.app.id
    return {
        **({"network": own} if own else {}),
        "container_id": container.id,
        "app_id": container.function.app.id,
        "function_id": container.function.id,
        "image_id": spec["image_id"],
        "mounts": spec["mounts"],
        "env": secrets.environment_of(core, spec["secrets"]),
        "cpu_request": spec["cpu_request"] or 0.125,
        "cpu_limit": spec["cpu_limit"],
        "memory_request": containers.memory_of(container),
        "memory_limit": spec["memory_limit"],
        "pids_limit": _PIDS,
        "block_network": spec["block_network"],
        "restrict_access": spec["restrict_access"],
        "volumes": volume_actions.mounts(core, spec.get("volumes", [])),
        "buckets": bucket_actions.mounts(core, spec.get("buckets", [])),
        "nfs": nfs_actions.mounts(core, spec.get("nfs", [])),
        "gpus": list(container.gpus),
    }


def _sandbox_plan(core: Core, container: machines.Container, one: sandboxes.Sandbox) -> Any:
    """Without a token, and without anything else of ours: what runs there is not trusted."""
    words = ("command", "workdir", "pty", "probe", "runtime", "restore")
    plan = {name: value for name, value in one.spec.items() if name in words}
    walls = _walls(core, container)
    walls["env"] = {"WINDLASS_SANDBOX_ID": one.id, "MODAL_SANDBOX_ID": one.id, **walls["env"]}
    return {**walls, "token": "", "snapshot": False, "runner": {}, "sandbox": plan}


def _layout(core: Core, function: machines.Function) -> container_messages.AppLayout:
    app = function.app
    functions = deployments.layout_of(core, function)
    return {"app_id": app.id, "app_name": app.local_name, "functions": functions}


@door.handler("build.plan")
def build_plan(core: Core, who: door.Who, body: messages.BuildRef, incoming: peer.Incoming) -> Any:
    plan = builds.plan(core, body["build_id"])
    digests, layers = storage.digests([json.dumps(plan["recipe"])]), ids.within(plan, "vl")
    return _when_here(core, incoming, digests, layers, lambda: plan)


@door.handler("build.log")
def build_log(core: Core, who: door.Who, body: messages.BuildLog, incoming: peer.Incoming) -> Any:
    builds.log(core, body["build_id"], body["text"])
    return {}


@door.handler("build.result", "build_id")
def build_result(core: Core, who: door.Who, body: messages.BuildResult, incoming: peer.Incoming) -> Any:
    builds.result(core, worker_of(core, who, incoming), body)
    return {}
