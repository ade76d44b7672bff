"""Spans of calls, for a collector of traces. Only where the settings name one; otherwise nothing here is ever called.

    call f ─┬─ queue ── start container ── make, import, enter     (of each attempt; the start where it waited for one)
            └─ run f ── call g …                                    (what its code calls)

The span of an attempt has an identity that is computed, so the calls that its code makes find it. All else is random.
"""

from __future__ import annotations

import hashlib

from windlass.kit import ids, tracing
from windlass.server.apply import core as core_module
from windlass.server.state import machines, moves, records, work
from windlass.wire.messages import calls as messages

Core = core_module.Core


def begin(core: Core, call: work.Call, request: messages.CallCreate | None = None) -> None:
    """A call was accepted: it belongs to whoever made it."""
    said = tracing.parse((request or {}).get("traceparent", "")) or _parent(core, call, request)
    trace, parent, sampled = (said.trace, said.span, said.sampled) if said else (tracing.new_trace(), "", True)
    call.trace = tracing.Context(trace, tracing.new_span(), sampled=sampled), parent


def _parent(core: Core, call: work.Call, request: messages.CallCreate | None) -> tracing.Context | None:
    """The attempt that made it, if it has not ended."""
    identity = (request or {}).get("parent_input_id") or ""
    if call.parent is None or not ids.is_id(identity, "in"):
        return None
    parent = core.world.calls_by_n.get(call.parent >> work.INDEX_BITS)
    for container in parent.function.containers.values() if parent is not None else ():
        if (item := container.held.get(identity)) is not None:
            return running(core, item)
    return None


def running(core: Core, item: work.Input) -> tracing.Context:
    """The span of the attempt that runs."""
    own = _own(core, item.call)
    return tracing.Context(own.trace, _attempt(item), sampled=own.sampled)


def _own(core: Core, call: work.Call) -> tracing.Context:
    if call.trace is None:  # read from its row after a restart: what it belonged to is not known any more
        begin(core, call)
    assert call.trace is not None
    return call.trace[0]


def _attempt(item: work.Input) -> str:
    return hashlib.sha256(f"{item.id} {item.attempt}".encode()).hexdigest()[:16]


def attempt_ended(core: Core, item: work.Input, outcome: int, reason: str) -> None:
    """Called while the input still has its lease."""
    tracer, call, now = core.tracer, item.call, core.clock.now()
    if tracer is None or not _own(core, call).sampled:
        return
    own = _own(core, call)
    leased, container = item.state == moves.InputState.LEASED, item.container
    facts: dict[str, str | float] = {**_facts(call), "windlass.input_id": item.id, "windlass.attempt": item.attempt}
    queue = tracing.Context(own.trace, tracing.new_span())
    until = item.leased_at if leased else now
    tracer.add(tracing.Span("queue", queue, own.span, item.queued_at, until, attributes=facts))
    if container is None or not leased:
        return
    facts["windlass.container_id"] = container.id
    _start(tracer, container, queue, item.queued_at)
    if item.usage is not None:
        facts["windlass.user_code_seconds"] = item.usage[0]
    error = "" if outcome == records.Outcome.SUCCESS else reason or records.Outcome(outcome).name.lower()
    tracer.add(
        tracing.Span(f"run {call.name}", running(core, item), own.span, until, now, error=error, attributes=facts)
    )


def _start(
    tracer: tracing.Exporter, container: machines.Container, queue: tracing.Context, queued_at: float
) -> None:
    """How its container came to be, where the input had to wait for that."""
    if container.started_at is None or container.started_at <= queued_at:
        return
    whole = tracing.Context(queue.trace, tracing.new_span())
    facts = {"windlass.container_id": container.id}
    began, ready = container.created_at, container.started_at
    tracer.add(tracing.Span("start container", whole, queue.span, began, ready, attributes=facts))
    at = ready
    pieces = [("enter", container.phases.get("enter")), ("import", container.phases.get("import"))]
    for name, seconds in pieces:
        if seconds:
            context = tracing.Context(queue.trace, tracing.new_span())
            tracer.add(tracing.Span(name, context, whole.span, at - seconds, at))
            at -= seconds
    if container.made_at is not None:
        context = tracing.Context(queue.trace, tracing.new_span())
        tracer.add(tracing.Span("make", context, whole.span, began, container.made_at))


def call_ended(core: Core, call: work.Call) -> None:
    """All its inputs have ended."""
    own = _own(core, call)
    if core.tracer is None or call.trace is None or call.done_at is None:
        return
    facts = {**_facts(call), "windlass.inputs": call.num_inputs}
    core.tracer.add(
        tracing.Span(
            f"call {call.name}", own, call.trace[1], call.created_at, call.done_at, kind=tracing.SERVER,
            attributes=facts,
        )
    )  # fmt: skip


def _facts(call: work.Call) -> dict[str, str | float]:
    app = call.function.app
    return {
        "windlass.app": app.name or app.description, "windlass.function": call.name, "windlass.call_id": call.id,
    }  # fmt: skip
