"""``function.info``, ``function.figures``, ``call.records`` and ``call.input``: looking back."""

from __future__ import annotations

import json
from typing import Any

from windlass import exception
from windlass.server.api import calls as call_api
from windlass.server.api import door, machines
from windlass.server.apply import calls as call_actions
from windlass.server.apply import environments
from windlass.server.apply import records as record_actions
from windlass.server.decide import figures
from windlass.server.state import machines as machine_state
from windlass.server.state import moves, records, work
from windlass.server.store import apps, deployments, images, inputs, secrets
from windlass.server.store import records as store
from windlass.wire import peer
from windlass.wire.messages import functions as function_messages
from windlass.wire.messages import images as image_messages
from windlass.wire.messages import records as messages

Core = door.Core
_MOST = 10_000
_MOST_STEPS = 500


def _past(core: Core, function_id: str) -> apps.Past:
    row = apps.function_by_id(core.db, function_id)
    past = apps.function_past(core.db, row.n) if row is not None else None
    if past is None:
        raise exception.NotFoundError(f"no function {function_id}")
    return past


@door.handler("function.info", "function_id")
def info(core: Core, who: door.Who, body: function_messages.FunctionRef, incoming: peer.Incoming) -> Any:
    past = _past(core, body["function_id"])
    live = core.world.functions.get(past.id)
    pool = [] if live is None else [live, *live.variants.values()]
    return {
        "function_id": past.id,
        "app_id": past.app_id,
        "app_name": past.app_name or past.description,
        "tag": past.tag,
        "live": live is not None,
        "spec": past.spec if live is None else live.spec,
        "autoscaler": past.spec["autoscaler"] if live is None else live.autoscaler,
        "image": _steps(core, past.spec["image_id"]),
        "variant_of": past.base_id,
        "parameters": past.parameters,
        "variants": apps.variants_of(core.db, past.n),
        "containers": [machines.info(c) for f in pool for c in f.containers.values()],
        "backlog": sum(f.queued + len(f.delayed) for f in pool),
        "running": sum(f.running for f in pool),
    }


def _steps(core: Core, image_id: str) -> list[image_messages.Recipe]:
    steps: list[image_messages.Recipe] = []
    wanted: str | None = image_id
    while wanted is not None and len(steps) < _MOST_STEPS:
        row = images.step(core.db, wanted)
        if row is None:
            break
        wanted, recipe = row
        steps.insert(0, recipe)
    return steps


@door.handler("function.figures")
def function_figures(core: Core, who: door.Who, body: messages.FiguresQuery, incoming: peer.Incoming) -> Any:
    until = body.get("until", core.clock.now())
    since = body.get("since", until - 3600.0)
    if since > until:
        raise exception.InvalidError("the range ends before it begins")
    whose, pool = _whose(core, body)
    for function in pool:
        record_actions.put(core, function)
    total = store.figures(core.db, whose, since, until)
    begun = store.starts(core.db, whose, since, until)
    return {
        **{name: getattr(total, name) for name in ("inputs", "failures", "retries", "cancelled", "crashes")},
        **{name: figures.spread(getattr(total, name)) for name in ("queue", "start", "run")},
        "cpu_seconds": total.cpu,
        "memory_peak": total.peak,
        "containers": len(begun),
        **figures.starts(begun),
    }


def _whose(core: Core, body: messages.FiguresQuery) -> tuple[store.Whose, list[machine_state.Function]]:
    """What is asked for, and the functions of it whose running minute may not be a row yet."""
    if "function_id" not in body:
        app_id = body.get("app_id", "")
        pool = [function for function in core.world.functions.values() if function.app.id == app_id]
        return store.Whose(None, _app(core, app_id), True), pool
    past, variants = _past(core, body["function_id"]), body.get("variants", True)
    live = core.world.functions.get(past.id)
    pool = [] if live is None else [live, *live.variants.values()] if variants else [live]
    return store.Whose(past.n, None, variants), pool


@door.handler("call.records")
def listed(core: Core, who: door.Who, body: messages.RecordQuery, incoming: peer.Incoming) -> Any:
    if core.turn.is_open:
        core.turn.flush()
    limit = max(1, min(body.get("limit", 100), _MOST))
    if "call_id" in body:
        rows = store.of_call(core.db, body["call_id"], limit)
        if not rows:
            call_api.find(core, body["call_id"])  # says whether it is unknown or expired
    else:
        function = _past(core, body["function_id"]).n if "function_id" in body else None
        app = _app(core, body["app_id"]) if "app_id" in body else None
        rows = store.listed(
            core.db, function=function, app=app, failed=body.get("failed", False), limit=limit,
            environment=environments.named(core, body.get("environment")) if function is app is None else None,
        )  # fmt: skip
    return {"records": [_record(core, row) for row in rows]}


def _app(core: Core, app_id: str) -> int:
    row = apps.by_id(core.db, app_id)
    if row is None:
        raise exception.NotFoundError(f"no app {app_id}")
    return row.n


def _record(core: Core, row: store.Listed) -> messages.AttemptRecord:
    return {
        "call_id": row.call,
        "input_id": work.input_id(work.call_part(row.call), row.idx),
        "index": row.idx,
        "attempt": row.attempt,
        "app_id": row.app_id or "",
        "app_name": row.app_name or row.app_description or "",
        "function_id": row.function_id or "",
        "function": _name(row.tag or "", row.method),
        "kind": moves.Kind(row.kind).name.lower(),
        "status": records.Outcome(row.outcome).name.lower(),
        "final": bool(row.final),
        "container_id": row.container_id,
        "queue_seconds": row.queue,
        "start_seconds": row.start,
        "run_seconds": row.run,
        "cpu_seconds": row.cpu,
        "memory_peak": row.peak,
        "ended_at": row.ended_at,
        "reason": row.reason,
        "exit": json.loads(row.exit) if row.exit else None,
        "replayable": row.size > 0,
    }


def _name(tag: str, method: str) -> str:
    return f"{tag.removesuffix('.*')}.{method}" if method else tag


@door.handler("call.input", "call_id")
def recorded_input(core: Core, who: door.Who, body: messages.InputQuery, incoming: peer.Incoming) -> None:
    call_id, index = body["call_id"], body.get("index", 0)
    if core.turn.is_open:
        core.turn.flush()
    kept = store.last_of_input(core.db, call_id, index)
    if kept is None or not kept.size:
        kept = _waiting(core, call_id, index, kept)
    past = apps.function_past(core.db, kept.function)
    if past is None:
        raise exception.OutputExpiredError(f"the function of call {call_id} is no longer stored")
    if kept.kind == moves.Kind.GEN:
        raise exception.InvalidError(f"{_name(past.tag, kept.method)} is a generator: such calls cannot be replayed")
    specs = _specs(core, past, kept.made_at)
    attachments = []
    if kept.blob is not None:
        arguments: Any = {"blob": kept.blob, "size": kept.size}
    else:
        arguments = {"at": 0, "size": kept.size}
        attachments.append(kept.payload or b"")
    incoming.reply(
        {
            "call_id": call_id,
            "index": index,
            "tag": past.base_tag or past.tag,
            "method": kept.method,
            "status": records.Outcome(kept.outcome).name.lower() if kept.outcome >= 0 else "pending",
            "arguments": arguments,
            "app": {
                "name": past.app_name or past.description,
                "environment": past.environment,
                "functions": specs,
            },
            "parameters": past.parameters,
            "overrides": past.overrides,
            "lost_secrets": _lost(core, [past.spec, *specs.values()]),
        },
        attachments,
    )


def _waiting(core: Core, call_id: str, index: int, known: store.Kept | None) -> store.Kept:
    """The same of an input that has not ended. Raises what says why there is none."""
    call = call_actions.find(core, call_id)
    if call is None:
        if known is None:
            call_api.find(core, call_id)
        raise _gone(call_id, index, known)
    if not 0 <= index < call.next_index:
        raise exception.InvalidError(f"call {call_id} has no input {index}; it has {call.num_inputs}")
    data = inputs.waiting(core.db, call.key(index))
    if data is None:
        raise _gone(call_id, index, known)
    now = core.clock.now()
    return store.Kept(call.function.n, call.method, call.kind, -1, data.size, data.blob, data.inline, now)


def _gone(call_id: str, index: int, known: store.Kept | None) -> exception.Error:
    if known is not None and known.outcome in records.FAULTS:
        return exception.OutputExpiredError(
            f"the arguments of input {index} of call {call_id} are no longer kept",
            hint="They are dropped after some days, and when there are too many or they are too large.",
        )
    return exception.NotFoundError(
        f"the arguments of input {index} of call {call_id} are not kept: it did not fail",
        hint="Only failed inputs can be replayed; `windlass call list --failed` shows them.",
    )


Specs = dict[str, function_messages.FunctionSpec]


def _specs(core: Core, past: apps.Past, time: float) -> Specs:
    """What the app consisted of at ``time``, or in the version that the function stays with: by tag."""
    if not past.version:
        return _published(core, past)
    if past.pin is not None:
        row = deployments.by_version(core.db, past.app, past.pin)
    else:
        row = deployments.at(core.db, past.app, time)
    specs: Specs = {}
    for tag, (identity, generation) in row.layout.items() if row is not None else ():
        function = apps.function_by_id(core.db, identity)
        spec = deployments.spec(core.db, function.n, generation) if function is not None else None
        if spec is not None:
            specs[tag] = spec
    if (past.base_tag or past.tag) not in specs:
        raise exception.OutputExpiredError(
            f"the version of app {past.app_name!r} that the call ran on is too old: it is not kept any more"
        )
    return specs


def _published(core: Core, past: apps.Past) -> Specs:
    """Of the functions with one tag, the one that was called stays; else the one that is published."""
    base = past.base_id or past.id
    specs: Specs = {}
    for identity, tag, spec in apps.specs_of_app(core.db, past.app):
        if identity == base or (past.layout.get(tag) == identity and tag not in specs):
            specs[tag] = spec
    return specs


def _lost(core: Core, specs: list[function_messages.FunctionSpec]) -> list[str]:
    wanted = [identity for spec in specs for identity in spec["secrets"]]
    return [identity for identity in dict.fromkeys(wanted) if secrets.by_id(core.db, identity) is None]
