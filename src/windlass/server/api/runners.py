"""``runner.*``: what runners say about themselves and their inputs."""

from __future__ import annotations

import logging
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import calls, containers, outputs
from windlass.server.apply import work as actions
from windlass.server.decide import attempts, capacity
from windlass.server.state import clusters, machines, moves, work
from windlass.wire import peer
from windlass.wire.messages import work as messages

Core = door.Core
_log = logging.getLogger(__name__)
_FAILED = {"failure": moves.Status.FAILURE, "timeout": moves.Status.TIMEOUT}
_PHASES = frozenset({"import", "enter"})
_OUTPUT = {"input_id", "attempt", "status"}
_ITEM = {*_OUTPUT, "item", "value"}


def _container(who: door.Who) -> machines.Container:
    container = who.container
    if container is None or not container.alive:
        raise exception.ConflictError("this container is no longer wanted")
    return container


@door.handler("runner.ready")
def ready(core: Core, who: door.Who, body: messages.RunnerReady, incoming: peer.Incoming) -> Any:
    held = {item["input_id"]: item["attempt"] for item in body["held"]}
    phases = {name: seconds for name, seconds in body.get("phases", {}).items() if name in _PHASES}
    container = _container(who)
    if "slots" in body:
        container.slots = _slots(body["slots"])
    return {"drop": containers.ready(core, container, incoming.peer, held, phases)}


def _slots(wanted: int) -> int:
    if wanted < 1:
        raise exception.InvalidError(f"a container takes at least one input at once, not {wanted}")
    return wanted


@door.handler("runner.slots")
def slots(core: Core, who: door.Who, body: messages.RunnerSlots, incoming: peer.Incoming) -> Any:
    """Kept in memory only: after a restart of the server the runner says it again."""
    container = _container(who)
    container.slots = _slots(body["slots"])
    if container.state == moves.ContainerState.READY:
        container.function.free[container.id] = container  # there may be room now; leasing looks
        core.turn.begin()
        core.turn.dispatch[container.function] = None
        core.scheduler.set()
    return {}


@door.handler("runner.beat")
def beat(core: Core, who: door.Who, body: messages.RunnerBeat, incoming: peer.Incoming) -> Any:
    container = _container(who)
    now = container.seen_at = core.clock.now()
    held = {item["input_id"]: item["attempt"] for item in body["held"]}
    # Leases younger than this may still be on their way to the runner, or their outputs on the way back.
    lost = [i for i in container.held.values() if held.get(i.id) != i.attempt and now - i.leased_at > 30.0]
    if lost:
        core.turn.begin()
        for item in reversed(lost):
            actions.requeue(core, item)
    return {}


@door.handler("runner.release")
def release(core: Core, who: door.Who, body: messages.RunnerRelease, incoming: peer.Incoming) -> Any:
    container = _container(who)
    core.turn.begin()
    if body["inputs"] and container.held and container.state == moves.ContainerState.READY:
        # It gives back what waits behind a long one: inputs are not as short as they were.
        oldest = min(item.leased_at for item in container.held.values())
        container.function.seconds = max(container.function.seconds or 0.0, core.clock.now() - oldest, attempts.SHORT)
    for held in reversed(body["inputs"]):
        item = container.held.get(held["input_id"])
        if item is not None and item.attempt == held["attempt"]:
            actions.requeue(core, item)
    if body.get("leaving"):
        containers.move(core, container, moves.ContainerState.DRAINING)
        if not container.held and container.kill_at is None:
            container.kill_at = core.clock.now() + containers.grace(core, container)
    elif container.held and capacity.of(container.function.spec, container.function.seconds).shared:
        container.function.free.pop(container.id, None)  # until something that it holds has ended
    return {}


@door.handler("runner.failed")
def failed(core: Core, who: door.Who, body: messages.RunnerFailed, incoming: peer.Incoming) -> Any:
    failure = dict(body["failure"])
    data = _take_error(failure, incoming.attachments)
    containers.runner_failed(core, _container(who), actions.failure_body(failure), data)
    return {}


def _take_error(failure: dict[str, Any], attachments: list[bytes]) -> work.Data:
    payload = failure.pop("error", None)
    return work.NO_DATA if payload is None else calls.payload_of(payload, attachments)


@door.handler("runner.outputs")
def take_outputs(core: Core, who: door.Who, body: messages.RunnerOutputs, incoming: peer.Incoming) -> None:
    container = _container(who)
    for output in body["outputs"]:
        if not output.keys() >= (_ITEM if output.get("status") == "item" else _OUTPUT):
            raise exception.InvalidError("an output lacks what belongs to it")
    core.turn.touch()
    container.seen_at = core.clock.now()
    attachments, held = incoming.attachments, container.held
    hold: work.Call | None = None
    kept = False
    for output in body["outputs"]:
        item = held.get(output["input_id"])
        if item is None or item.attempt != output["attempt"]:
            _log.info("late output of %s, attempt %s: dropped", output["input_id"], output["attempt"])
        elif container.rank and output["status"] == "item":
            pass  # what is yielded is what rank 0 yields
        elif output["status"] == "item":
            actions.record_item(core, item, output["item"], calls.payload_of(output["value"], attachments))
            hold = item.call
        elif container.cluster is not None and output["status"] == "success":
            kept = _end_of_rank(core, container, container.cluster, item, output, incoming)
        else:
            item.container = container  # of a cluster, the one to blame
            _end(core, container, item, output, attachments)
    if kept:
        return
    if hold is not None and hold.done_at is None and outputs.behind(hold) > outputs.AHEAD:
        hold.held_back.append(incoming)
    elif hold is None and container.state == moves.ContainerState.READY:
        core.turn.acknowledge(incoming)
    else:  # it yields on, or wants to end
        core.turn.answer(incoming, {})


def _end_of_rank(
    core: Core,
    container: machines.Container,
    cluster: clusters.Cluster,
    item: work.Input,
    output: messages.AttemptOutput,
    incoming: peer.Incoming,
) -> bool:
    """Of an attempt that a cluster runs; True: it is answered when all ranks have ended, so none forgets before."""
    cluster.answers[container.rank] = incoming
    container.served += 1
    if container is cluster.first:
        value, items = output.get("value"), output.get("items")
        data = calls.payload_of(value, incoming.attachments) if value is not None else work.NO_DATA
        cluster.result = None if items is None else b'{"items":%d}' % items, data
    if len(cluster.answers) == cluster.size:
        item.container = cluster.first
        seconds = core.clock.now() - item.leased_at
        container.function.seconds = attempts.smooth(container.function.seconds, seconds)
        item.usage = (seconds, output.get("cpu"), output.get("peak"))
        actions.finish(core, item, moves.Status.SUCCESS, *cluster.result)
    return True


def _end(
    core: Core,
    container: machines.Container,
    item: work.Input,
    output: messages.AttemptOutput,
    attachments: list[bytes],
) -> None:
    status, function = output["status"], container.function
    seconds = output.get("seconds")
    if seconds is not None:
        function.seconds = attempts.smooth(function.seconds, seconds)
        item.usage = (seconds, output.get("cpu"), output.get("peak"))
    container.served += 1
    if status == "success":
        value, items = output.get("value"), output.get("items")
        data = calls.payload_of(value, attachments) if value is not None else work.NO_DATA
        actions.finish(core, item, moves.Status.SUCCESS, None if items is None else b'{"items":%d}' % items, data)
    elif status in _FAILED:
        failure = dict(output.get("failure") or {})
        data = _take_error(failure, attachments)
        actions.attempt_failed(core, item, _FAILED[status], actions.failure_body(failure), data)
    elif status == "terminated":
        if item.call.cancelled:
            actions.fail_for(core, item, moves.Status.TERMINATED, "cancelled")
        else:
            actions.requeue(core, item)
    else:
        raise exception.InvalidError(f"unknown status of an output: {status!r}")
    if container.spec["single_use"]:
        containers.stop(core, container, graceful=True, why="single use")
    elif container.state == moves.ContainerState.DRAINING and not container.held:
        container.kill_at = core.clock.now() + containers.grace(core, container)
