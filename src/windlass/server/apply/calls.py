"""Calls: created, found again, given inputs. (What becomes of the inputs is ``work``.)"""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import disk, traces
from windlass.server.apply import work as work_actions
from windlass.server.decide import admission
from windlass.server.state import machines, moves, work
from windlass.server.store import apps, calls, inputs
from windlass.wire.messages import calls as call_messages

Core = core_module.Core
_identities = ids.Supply("fc")
KINDS = {"remote": moves.Kind.REMOTE, "map": moves.Kind.MAP, "spawn": moves.Kind.SPAWN, "gen": moves.Kind.GEN}


def find(core: Core, call_id: str) -> work.Call | None:
    """The call, from memory or from its row."""
    part = work.call_part(call_id)
    call = core.world.calls.get(part)
    if call is None:
        row = calls.by_part(core.db, part)
        call = _load(core, row) if row is not None else None
    return call if call is not None and call.id == call_id else None


def is_new(core: Core, call_id: str) -> bool:
    """Whether nothing at all is known of a call with that id, nor of one whose inputs have the same ids."""
    part = work.call_part(call_id)
    is_new = part not in core.world.calls and not calls.is_known(core.db, part, call_id)
    core.unheard_of = call_id if is_new else ""
    return is_new


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
    call.method = row.method
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
    past = apps.by_id(core.db, row.app_id)
    environment = "" if past is None else past.environment
    app = machines.App(n=0, identity=row.app_id, name=None, environment=environment, state=moves.AppState.STOPPED)
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
    """Record a call with its first inputs, or nothing at all. Repeating it changes nothing."""
    call = _known(core, request["call_id"])
    known = call is not None
    if call is None:
        call = _described(core, request)
    fresh = _fresh(core, call, request.get("inputs") or [], attachments)
    if not known:
        _pace(core, call)
        call.n = core.counters.call
        call.client = client
        call.closed = bool(fresh) and request.get("closed", False)
        core.turn.add(call)
        core.counters.call += 1
        _remember(core, call)
        if core.tracer is not None:
            traces.begin(core, call, request)
    call.client = client
    _add(core, call, fresh, closed=request.get("closed", False))
    return call


def _known(core: Core, call_id: str) -> work.Call | None:
    """The call if it is there already. Raises an error if the inputs of another one have the same ids."""
    part = work.call_part(call_id)
    unheard_of, core.unheard_of = core.unheard_of, ""
    call, taken = core.world.calls.get(part), True
    if call is None and unheard_of == call_id:
        return None  # whether they may make it was asked just before
    if call is None:
        row = calls.by_part(core.db, part)
        call, taken = (None, False) if row is None else (_load(core, row), True)
    if taken and (call is None or call.id != call_id):
        raise exception.AlreadyExistsError(f"another call has an id like {call_id[:60]}")
    return call


def transient(core: Core, function: machines.Function, method: str, data: work.Data, watcher: object) -> work.Input:
    """The one input of a call for a request that lives no longer than its connection: it has no rows."""
    _check_room(core, function, moves.Kind.REMOTE, 1)
    now = core.clock.now()
    call = work.Call(
        n=core.counters.call, identity=_identities.new(), function=function, kind=moves.Kind.REMOTE, created_at=now
    )
    call.transient, call.method = True, method
    call.closed = True
    call.num_inputs = call.next_index = call.in_memory = 1
    call.watchers.append(watcher)
    core.turn.touch()
    core.counters.call += 1
    _remember(core, call)
    new = work.Input(call, 0, data)
    new.fresh, new.queued_at = True, now
    function.ready.append(new)
    function.open_sync += 1
    function.last_active = now
    core.turn.dispatch[function] = None
    return new


def _described(core: Core, request: call_messages.CallCreate) -> work.Call:
    """A new call, not yet recorded."""
    call_id = request["call_id"]
    if not ids.is_id(call_id, "fc"):
        raise exception.InvalidError(f"not a call id: {call_id[:60]!r}")
    kind = KINDS.get(request.get("kind", "remote"))
    if kind is None:
        raise exception.InvalidError(f"unknown kind of call: {request.get('kind')!r}")
    function = core.world.functions.get(request["function_id"])
    if function is None or not function.app.alive or function.removed:
        raise _no_function(core, request["function_id"])
    parent = request.get("parent_input_id")
    call = work.Call(n=0, identity=call_id, function=function, kind=kind, created_at=core.clock.now())
    call.method = _method(function, request.get("method", ""))
    call.parent = _input_key(core, parent) if parent else None
    if "web" in function.spec or "web" in function.spec.get("methods", {}).get(call.method, {}):
        raise exception.InvalidError(
            f"{call.name!r} is a web function: it answers HTTP requests and cannot be called",
            hint="Ask its URL: get_web_url() says it.",
        )
    return call


def _method(function: machines.Function, method: str) -> str:
    """``method`` itself, if there is one to be named and it is there."""
    spec = function.spec
    class_name, methods = spec.get("class_name", ""), spec.get("methods", {})
    if not class_name and method:
        raise exception.InvalidError(f"function {spec['tag']!r} is no class: it has no method {method[:60]!r}")
    if class_name and not method:
        raise exception.InvalidError(
            f"{class_name!r} is a class: only its methods can be called", hint=f"They are: {', '.join(methods)}."
        )
    if method and method not in methods:
        raise exception.NotFoundError(
            f"class {class_name!r} has no method {method[:60]!r}", hint=f"It has: {', '.join(methods)}."
        )
    return method


def _no_function(core: Core, function_id: str) -> exception.Error:
    row = apps.function_by_id(core.db, function_id)
    if row is None:
        return exception.NotFoundError(f"no function {function_id}")
    known = core.world.functions.get(function_id)
    if known is not None and known.app.alive:
        return exception.NotFoundError(known.farewell)
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
    """Add inputs to a call, all or none; an index that is known already is ignored."""
    _add(core, call, _fresh(core, call, items, attachments), closed=closed)


def _fresh(
    core: Core, call: work.Call, items: list[call_messages.InputItem], attachments: list[bytes]
) -> list[tuple[int, work.Data]]:
    """What of ``items`` is new, once it is clear that all of it may be accepted."""
    expected, fresh = call.next_index, []
    for item in items:
        index = item["index"]
        if index < expected and not _fills_gap(core, call, index):
            continue
        if index > work.INDEX_MASK:
            raise exception.InvalidError(f"a call has at most {work.INDEX_MASK:,} inputs")
        expected = max(expected, index + 1)
        data = payload_of(item["payload"], attachments)
        if data.blob is not None and not core.blobs.has(data.blob):
            raise exception.InvalidError(f"blob {data.blob} was not uploaded")
        fresh.append((index, data))
    if fresh:
        _admit(core, call, len(fresh))
    return fresh


def _fills_gap(core: Core, call: work.Call, index: int) -> bool:
    if index < 0:
        raise exception.InvalidError("inputs are counted from 0")
    if not call.gaps or index >= call.next_index:
        return False
    core.turn.flush()
    return not inputs.exists(core.db, call.key(index))


def _admit(core: Core, call: work.Call, more: int) -> None:
    if call.cancelled or call.closed:
        raise exception.ConflictError(f"call {call.id} takes no more inputs")
    _check_room(core, call.function, call.kind, more)
    if call.kind == moves.Kind.MAP:
        unfinished, limit = call.num_inputs - call.num_done, core.settings.map_outstanding
        admission.check_map(unfinished=unfinished, more=more, limit=limit, tag=call.function.tag)


def _check_room(core: Core, function: machines.Function, kind: moves.Kind, more: int) -> None:
    if not function.app.alive or function.removed:
        raise _no_function(core, function.id)
    disk.check(core)
    limits = core.settings
    if kind == moves.Kind.SPAWN:
        allowed, unfinished = admission.Limits(limits.spawn_queued), function.open_spawned
    else:
        allowed, unfinished = admission.Limits(limits.sync_waiting, limits.sync_total), function.open_sync
    admission.check_queue(unfinished=unfinished, running=function.running, more=more, limits=allowed, tag=function.tag)


def _pace(core: Core, call: work.Call) -> None:
    """Refuse a call when its function gets too many a second, where the settings have such a rate."""
    spawned = call.kind == moves.Kind.SPAWN
    rate = core.settings.spawn_rate if spawned else core.settings.sync_rate
    if rate:
        function = call.function
        function.rates[spawned] = admission.spend(
            function.rates.get(spawned),
            core.clock.now(),
            rate=rate,
            burst=core.settings.rate_burst,
            tag=function.tag,
        )


def _add(core: Core, call: work.Call, fresh: list[tuple[int, work.Data]], *, closed: bool) -> None:
    function, inserted = call.function, core.turn.inserted
    ready, limit, now = function.ready, core.settings.window, core.clock.now()
    for index, data in fresh:
        new = work.Input(call, index, data)
        new.fresh = True
        new.queued_at = now
        call.num_inputs += 1
        if index != call.next_index:
            call.gaps = True
        call.next_index = max(call.next_index, index + 1)
        inserted.append(new)
        if function.spilled or len(ready) >= limit:
            function.spilled += 1
        else:
            call.in_memory += 1
            ready.append(new)
    if fresh:
        if call.kind == moves.Kind.SPAWN:
            function.open_spawned += len(fresh)
        else:
            function.open_sync += len(fresh)
        function.last_active = now
        core.turn.dispatch[function] = None
    if closed and not call.closed:
        call.closed = True
        if not call.fresh:
            core.turn.begin()
            calls.set_closed(core.db, call)
        work_actions.check_done(core, call)


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
