"""What a worker's word about its containers means for the rows."""

from __future__ import annotations

from windlass.server.apply import apps, containers, sandboxes
from windlass.server.apply import core as core_module
from windlass.server.state import machines, moves
from windlass.server.store import containers as container_rows
from windlass.wire.messages import workers as messages

Core = core_module.Core


def take(core: Core, node: str, reality: list[messages.ContainerReality], *, whole: bool) -> None:
    """Compare what the worker has with what is known; ``whole``: what it does not name it does not have."""
    named = set()
    for real in reality:
        identity = real["container_id"]
        named.add(identity)
        container = core.world.containers.get(identity)
        if container is None:
            if real["state"] != "exited":
                containers.want_later(core, node)
        elif real["state"] == "exited":
            gone(core, container, real.get("exit") or {"reason": "lost"})
        else:
            _begun(core, container, running=real["state"] == "running")
            if container.sandbox is not None:
                sandboxes.heard(core, container.sandbox, real)
    if whole:
        for container in [c for c in core.world.containers.values() if c.node == node and c.id not in named]:
            # A pending one may have been decided after the worker wrote this report.
            if container.state != moves.ContainerState.PENDING and core.clock.now() - container.created_at > 5.0:
                gone(core, container, {"reason": "lost", "message": "the worker does not know this container any more"})


def _begun(core: Core, container: machines.Container, *, running: bool) -> None:
    if running and container.made_at is None and container.starting:
        container.made_at = core.clock.now()
        if container.state != moves.ContainerState.PENDING:
            container_rows.update(core.db, container)
    if container.state == moves.ContainerState.PENDING:
        containers.move(core, container, moves.ContainerState.STARTING)


def gone(core: Core, container: machines.Container, exit: machines.Exit) -> None:
    """A container has ended, and maybe with it its app."""
    containers.gone(core, container, exit)
    if container.sandbox is not None:
        sandboxes.ended(core, container.sandbox, exit)
    app = container.function.app
    if not app.alive:
        apps.stopped_if_empty(core, app)


def node_lost(core: Core, node: str) -> None:
    """A worker that does not come back has lost its containers."""
    core.turn.begin()
    for build in core.world.builds.values():
        if build.node == node:
            build.node, build.gpus = "", ()
    for container in [c for c in core.world.containers.values() if c.node == node]:
        if container.peer is None:
            gone(core, container, {"reason": "lost", "message": f"node {node} was lost"})
