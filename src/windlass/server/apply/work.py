"""The life of inputs: ended, tried again. (Leasing is ``dispatch``, telling callers ``outputs``.)"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.server.apply import core as core_module
from windlass.server.apply import logs as log_actions
from windlass.server.apply import records, terminals, traces
from windlass.server.decide import attempts
from windlass.server.state import clusters, moves, work
from windlass.wire.messages import containers as deaths

Core = core_module.Core
_encode = msgspec.json.encode
_decode = msgspec.json.decode


def finish(
    core: Core,
    item: work.Input,
    status: moves.Status,
    body: bytes | None = None,
    data: work.Data = work.NO_DATA,
    exit: deaths.ContainerExit | None = None,
) -> None:
    """Record the one and only end of an input."""
    moves.check_input(item.state, moves.InputState.DONE, item.id)
    records.ended(core, item, status, body, exit=exit)
    _drop_lease(core, item)
    item.state = moves.InputState.DONE
    call = item.call
    call.in_memory -= 1
    seq = record_end(core, call, item.index, status, retries=item.retries, body=body, data=data)
    if item.fresh:
        item.ended = status, seq
        return
    core.turn.ended.append((status, seq, item.key))
    if item.data.blob is None and item.data.size > work.LARGE:
        core.turn.ended_large.append(item.key)


def record_end(
    core: Core, call: work.Call, index: int, status: moves.Status, *, retries: int, body: bytes | None, data: work.Data
) -> int:
    """The numbers of an input's end, and its output, whose ``seq`` is returned; its own row is the caller's part."""
    turn = core.turn
    core.measures.ended[status] += 1
    output = work.Output(call.next_seq, index, status, retries, body, data)
    call.next_seq += 1
    call.num_done += 1
    if call.kind == moves.Kind.SPAWN:
        call.function.open_spawned -= 1
    else:
        call.function.open_sync -= 1
    if not call.transient:
        turn.outputs.append((call.n, output))
    fresh = turn.fresh.get(call)
    if fresh is None:
        turn.fresh[call] = [output]
    else:
        fresh.append(output)
    if call.closed and call.num_done >= call.num_inputs:
        check_done(core, call)
    return output.seq


def record_item(core: Core, item: work.Input, number: int, data: work.Data) -> None:
    """One value of a generator. A repeated one, after a reconnect of its runner, is ignored."""
    call = item.call
    if number != call.next_item:
        return
    call.next_item += 1
    output = work.Output(call.next_seq, item.index, moves.Status.ITEM, item.retries, b'{"item":%d}' % number, data)
    call.next_seq += 1
    core.turn.outputs.append((call.n, output))
    core.turn.fresh.setdefault(call, []).append(output)


def check_done(core: Core, call: work.Call) -> None:
    """Close the books of a call whose inputs have all ended."""
    if call.finished and call.done_at is None:
        call.done_at = core.clock.now()
        if core.tracer is not None:
            traces.call_ended(core, call)
        if not (call.transient or call.fresh):
            core.turn.done_calls.append(call)
        core.turn.fresh.setdefault(call, [])
        call.function.last_active = call.done_at
        if call.function.app.draining:
            core.scheduler.set()


def _drop_lease(core: Core, item: work.Input) -> None:
    container = item.container
    if item.state != moves.InputState.LEASED or container is None:
        return
    function = container.function
    function.running -= 1
    core.turn.dispatch[function] = None
    terminals.returned(core, item.id)
    if container.cluster is not None:
        _drop_everywhere(core, item, container.cluster)
        return
    container.held.pop(item.id, None)
    if container.state == moves.ContainerState.READY:
        function.free[container.id] = container
        if not container.held:
            container.idle_since = core.clock.now()


def _drop_everywhere(core: Core, item: work.Input, cluster: clusters.Cluster) -> None:
    """No container of the cluster holds it any more. Ranks that still run it have no place in another attempt."""
    spent = cluster.first.spec["single_use"]
    cluster.broken = cluster.broken or spent or len(cluster.answers) < cluster.size
    for member in cluster.members.values():
        member.held.pop(item.id, None)
        member.idle_since = core.clock.now()
    for incoming in cluster.answers.values():
        core.turn.answer(incoming, {})
    cluster.answers, cluster.result = {}, (None, work.NO_DATA)


def requeue(core: Core, item: work.Input, *, delay: float | None = None) -> None:
    """Give an input back to the queue, at its head; after ``delay`` seconds when given. A cancelled one ends."""
    if item.call.cancelled or item.call.function.removed:
        gone = item.call.function.farewell
        fail_for(core, item, moves.Status.TERMINATED, "cancelled" if item.call.cancelled else gone)
        return
    target = moves.InputState.READY if delay is None else moves.InputState.DELAYED
    moves.check_input(item.state, target, item.id)
    _drop_lease(core, item)
    item.container, item.usage = None, None
    item.state, item.queued_at = target, core.clock.now()
    item.forget_large()
    function = item.call.function
    if delay is None:
        function.ready.appendleft(item)
        core.turn.dispatch[function] = None
    else:
        item.not_before = item.queued_at = item.queued_at + delay
        function.delayed[item.key] = item
    core.turn.change(item)


def failure_body(failure: Any) -> bytes:
    return _encode({"failure": failure})


def own_failure(reason: str, exit: deaths.ContainerExit | None = None) -> bytes:
    """A failure of the platform's own: no exception of the user's. ``exit``: the death that was its reason."""
    failure: dict[str, Any] = {"kind": "", "repr": "", "traceback": "", "frames": [], "reason": reason}
    return failure_body(failure if exit is None else {**failure, "exit": exit})


def fail_for(
    core: Core,
    item: work.Input,
    status: moves.Status,
    reason: str,
    exit: deaths.ContainerExit | None = None,
) -> None:
    """End an input with a failure of the platform's own."""
    finish(core, item, status, own_failure(reason, exit), exit=exit)


def attempt_failed(core: Core, item: work.Input, status: moves.Status, body: bytes | None, data: work.Data) -> None:
    """The user's code failed or ran too long: try again if the policy says so, else this is the result."""
    # What a generator has yielded cannot be taken back (a method may be one, whatever its class's policy says).
    final = item.call.cancelled or item.call.kind == moves.Kind.GEN
    delay = None if final else attempts.retry_delay(item.call.function.spec["retries"], item.retries)
    _say(core, item, body, delay)
    if delay is None:
        finish(core, item, status, body, data)
        return
    records.ended(core, item, status, body, final=False)
    item.retries += 1
    requeue(core, item, delay=delay)


def _say(core: Core, item: work.Input, body: bytes | None, delay: float | None) -> None:
    """Failures that no caller sees, or not yet, are seen in the log."""
    call = item.call
    waited_for = call.cancelled or (call.kind != moves.Kind.SPAWN and not call.transient)
    if delay is None and waited_for:
        return
    policy = call.function.spec["retries"]
    story = attempts.failure_story(
        call.name,
        _decode(body)["failure"] if body else {},
        retry=item.retries + 1,
        most=policy["max_retries"] if policy else 0,
        delay=delay,
    )
    log_actions.attempt(core, item, story)
