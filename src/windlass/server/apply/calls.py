"""Calls: created, found again, given inputs. (What becomes of the inputs is ``work``.)"""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import work as work_actions
from windlass.server.decide import admission
from windlass.server.state import machines, moves, work
from windlass.server.store import apps, calls, inputs
from windlass.wire.messages import calls as call_messages

Core = core_module.Core
KINDS = {"remote": moves.Kind.REMOTE, "map": moves.Kind.MAP, "spawn": moves.Kind.SPAWN, "gen": moves.Kind.GEN}


def find(core: Core, call_id: str) -> work.Call | None:
    """The call, from memory or from its row."""
    part = work.call_part(call_id)
    call = core.world.calls.get(part)
    if call is None:
        row = calls.by_part(core.db, part)
        call = _load(core, row) if row is not None else None
    return call if call is not None and call.id == call_id else None


def by_n(core: Core, n: int) -> work.Call | None:
    call = core.world.calls_by_n.get(n)
    if call is None and (row := calls.by_n(core.db, n)) is not None:
        call = _load(core, row)
    return call


def _load(core: Core, row: calls.Row) -> work.Call | None:
    function = core.world.functions_by_n.get(row.function) or _past_function(core, row.function)
    if function is None:
        return None
    if core.turn.is_open:
        core.turn.flush()
    call = work.Call(n=row.n, identity=row.id, function=function, kind=moves.Kind(row.kind), created_at=row.created_at)
    call.client, call.parent, call.closed, call.cancelled = (
        row.client,
        row.parent,
        bool(row.closed),
        bool(row.cancelled),
    )
    call.done_at = row.done_at
    calls.fill_counts(core.db, call)
    _remember(core, call)
    return call


def _past_function(core: Core, n: int) -> machines.Function | None:
    """A function of a stopped app, so that its results can still be fetched."""
    row = apps.function_by_n(core.db, n)
    if row is None:
        return None
    app = machines.App(n=0, identity=row.app_id, name=None, environment="", state=moves.AppState.STOPPED)
    return machines.Function(n=n, identity=row.id, app=app, spec=row.spec, autoscaler=row.spec["autoscaler"])


def _remember(core: Core, call: work.Call) -> None:
    core.world.calls[call.part] = call
    core.world.calls_by_n[call.n] = call


def release(core: Core, call: work.Call) -> None:
    """Forget a call that nobody in memory needs and whose counts are quickly read again."""
    if call.in_memory or call.watchers or core.world.calls.get(call.part) is not call:
        return
    if call.done_at is not None or call.num_inputs <= 64:
        core.world.calls.pop(call.part, None)
        core.world.calls_by_n.pop(call.n, None)


def create(core: Core, request: call_messages.CallCreate, attachments: list[bytes], client: str | None) -> work.Call:
    """Record a call with its first inputs. Repeating it changes nothing."""
    call = find(core, request["call_id"])
    if call is None:
        call = _new_call(core, request, client)
    else:
        call.client = client
    put(core, call, request.get("inputs") or [], attachments, closed=request.get("closed", False))
    return call


def _new_call(core: Core, request: call_messages.CallCreate, client: str | None) -> work.Call:
    call_id = request["call_id"]
    if not ids.is_id(call_id, "fc"):
        raise exception.InvalidError(f"not a call id: {call_id[:60]!r}")
    if work.call_part(call_id) in core.world.calls:
        raise exception.AlreadyExistsError(f"another call has an id like {call_id}")
    kind = KINDS.get(request.get("kind", "remote"))
    if kind is None:
        raise exception.InvalidError(f"unknown kind of call: {request.get('kind')!r}")
    function = core.world.functions.get(request["function_id"])
    if function is None or not function.app.alive:
        raise _no_function(core, request["function_id"])
    parent = request.get("parent_input_id")
    parent_key = _input_key(core, parent) if parent else None
    n = core.counters.call
    call = work.Call(n=n, identity=call_id, function=function, kind=kind, created_at=core.clock.now())
    call.client, call.parent = client, parent_key
    calls.insert(core.db, call)
    core.counters.call = n + 1
    _remember(core, call)
    return call


def _no_function(core: Core, function_id: str) -> exception.Error:
    row = apps.function_by_id(core.db, function_id)
    if row is None:
        return exception.NotFoundError(f"no function {function_id}")
    return exception.ConflictError(
        f"the app of function {row.tag!r} has stopped", hint="Run it again, or deploy the app."
    )


def _input_key(core: Core, input_id: str) -> int | None:
    """The key of an input whose id may be anything."""
    if not ids.is_id(input_id, "in"):
        return None
    part = input_id[3:19]
    call = core.world.calls.get(part)
    n = call.n if call is not None else getattr(calls.by_part(core.db, part), "n", None)
    return None if n is None else n << work.INDEX_BITS | ids.input_index(input_id)


def put(
    core: Core, call: work.Call, items: list[call_messages.InputItem], attachments: list[bytes], *, closed: bool
) -> None:
    """Add inputs to a call; an index that is known already is ignored."""
    function = call.function
    if items:
        _admit(core, call, len(items))
        limit = core.settings.window
        ready = function.ready
        for item in items:
            index = item["index"]
            if index != call.next_index and not _is_new(core, call, index):
                continue
            new = work.Input(call, index, payload_of(item["payload"], attachments))
            new.fresh = True
            call.num_inputs += 1
            call.next_index = max(call.next_index, index + 1)
            core.turn.inserted.append(new)
            if function.spilled or len(ready) >= limit:
                function.spilled += 1
            else:
                call.in_memory += 1
                ready.append(new)
        function.last_active = core.clock.now()
        core.turn.dispatch[function] = None
    if closed and not call.closed:
        call.closed = True
        calls.set_closed(core.db, call)
        work_actions.check_done(core, call)


def _admit(core: Core, call: work.Call, more: int) -> None:
    if call.cancelled or call.closed:
        # A repeated request may come after the call was closed: then all its indexes are known.
        if call.cancelled or call.next_index == 0:
            raise exception.ConflictError(f"call {call.id} takes no more inputs")
        return
    if core.low_disk:
        raise exception.ResourceExhaustedError(core.low_disk, hint="Free space on that disk and try again.")
    function = call.function
    limit = core.settings.spawn_queued if call.kind == moves.Kind.SPAWN else core.settings.sync_queued
    admission.check_queue(queued=function.queued, more=more, limit=limit, tag=function.tag)
    if not function.app.alive:
        raise _no_function(core, function.id)


def _is_new(core: Core, call: work.Call, index: int) -> bool:
    if not 0 <= index <= work.INDEX_MASK:
        raise exception.InvalidError(f"a call has at most {work.INDEX_MASK:,} inputs")
    if index >= call.next_index:
        call.gaps = True
        return True
    if not call.gaps:
        return False
    core.turn.flush()
    return not inputs.exists(core.db, call.key(index))


def payload_of(payload: Any, attachments: list[bytes]) -> work.Data:
    """The value that a ``Payload`` points to."""
    blob = payload.get("blob")
    if blob is not None:
        return work.Data(None, blob, payload.get("size", 0))
    try:
        inline = attachments[payload["at"]]
    except (KeyError, IndexError):
        raise exception.InvalidError("a payload points to no attachment") from None
    return work.Data(inline, None, len(inline))
