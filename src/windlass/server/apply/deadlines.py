"""The backstop: containers that should have started, spoken, finished or stopped by now are killed."""

from __future__ import annotations

import math

from windlass.server.apply import containers
from windlass.server.apply import core as core_module
from windlass.server.apply import work as work_actions
from windlass.server.decide import capacity
from windlass.server.state import machines, moves, work

Core = core_module.Core


def check(core: Core, now: float) -> None:
    """Kill what should have ended by itself."""
    limits = core.settings
    for container in list(core.world.containers.values()):
        _check(core, container, now, limits.beat, limits.reconnect)


def _check(core: Core, container: machines.Container, now: float, beat: float, reconnect: float) -> None:
    spec = container.spec
    if container.sandbox is not None:
        if container.starting and now - container.created_at > spec["startup_timeout"] + core.settings.timeout_slack:
            containers.kill(core, container, "it did not start in time")
        return  # the rest of its life is its own (``apply.sandboxes``)
    if container.kill_at is not None and now > container.kill_at:
        containers.kill(core, container, "it did not stop in time")
    elif container.starting:
        # Without its worker nothing can start: then it is the node that is late, not the user's code.
        if (
            container.node in core.world.workers
            and now - container.created_at > max(spec["startup_timeout"], 1.0) + core.settings.timeout_slack
        ):
            _startup_timeout(core, container)
    elif container.peer is None:
        if container.lost_at is not None and now - container.lost_at > reconnect:
            containers.kill(core, container, "its runner does not answer")
    elif now - container.seen_at > beat:
        containers.kill(core, container, "heartbeat timeout: the runner has been silent")
    elif container.held and any(_deaf(core, item, now) for item in container.held.values()):
        containers.kill(core, container, "it did not stop a cancelled input", say=False)
    elif container.held and not core.terminals.involve(container.id):
        _check_timeout(core, container, now, spec["timeout"])


def _deaf(core: Core, item: work.Input, now: float) -> bool:
    return item.call.cancelled and now - max(item.call.cancelled_at, item.leased_at) > core.settings.cancel_grace


def _startup_timeout(core: Core, container: machines.Container) -> None:
    seconds = container.spec["startup_timeout"]
    core.turn.begin()
    text = f"the container was not ready within startup_timeout={seconds:g} s"
    if container.failed is None:
        container.failed = (work_actions.own_failure(text), work.NO_DATA)
    containers.kill(core, container, text)
    containers.start_failed(core, container, {"reason": "start_failed", "message": text})


def _check_timeout(core: Core, container: machines.Container, now: float, timeout: float) -> None:
    oldest = min(item.leased_at for item in container.held.values())
    limit = (timeout or math.inf) + core.settings.timeout_slack + capacity.patience(container.function.spec)
    if now - oldest <= limit:
        return
    core.turn.begin()
    text = f"the function ran longer than its timeout of {timeout:g} s and did not stop when interrupted"
    for item in [i for i in container.held.values() if now - i.leased_at > limit]:
        body = work_actions.own_failure(text)
        work_actions.attempt_failed(core, item, moves.Status.TIMEOUT, body, work.NO_DATA)
    containers.kill(core, container, text)
