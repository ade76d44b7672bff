"""``call.*``: what callers ask of their calls."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import calls as actions
from windlass.server.apply import cancel as cancel_actions
from windlass.server.apply import outputs
from windlass.server.state import moves, work
from windlass.server.store import calls, inputs
from windlass.wire import peer
from windlass.wire.messages import calls as messages

Core = door.Core
_MAX_NODES = 5000


def find(core: Core, call_id: str) -> work.Call:
    call = actions.find(core, call_id)
    if call is None and calls.is_expired(core.db, call_id):
        days = core.settings.keep_spawn / 86400
        raise exception.OutputExpiredError(
            f"the result of call {call_id} was deleted: results are kept for {days:g} days"
        )
    if call is None:
        raise exception.NotFoundError(f"no call {call_id}")
    return call


@door.handler("call.create", "call_id", "function_id")
def create(core: Core, who: door.Who, body: messages.CallCreate, incoming: peer.Incoming) -> Any:
    core.turn.begin()
    call = actions.create(core, body, incoming.attachments, who.client_id)
    if call.in_memory == 0:
        core.turn.after.append(lambda: actions.release(core, call))
    return {}


@door.handler("call.run", "call_id", "function_id")
def run(core: Core, who: door.Who, body: messages.CallCreate, incoming: peer.Incoming) -> None:
    core.turn.touch()
    call = actions.create(core, body, incoming.attachments, who.client_id)
    watcher = outputs.Watcher(core, call, incoming)
    if call.fresh:
        watcher.attach()  # there is nothing to be sent yet, and what comes is pushed
    else:
        _watch(core, watcher)


def _watch(core: Core, watcher: outputs.Watcher) -> None:
    watcher.attach()
    if core.turn.is_open:
        core.turn.then(watcher.start)
    else:
        watcher.start()


@door.handler("call.put")
def put(core: Core, who: door.Who, body: messages.CallPut, incoming: peer.Incoming) -> Any:
    core.turn.begin()
    call = find(core, body["call_id"])
    actions.put(core, call, body["inputs"], incoming.attachments, closed=body["closed"])
    return {}


@door.handler("call.outputs", "call_id")
def query(core: Core, who: door.Who, body: messages.OutputQuery, incoming: peer.Incoming) -> None:
    call = find(core, body["call_id"])
    watcher = outputs.Watcher(core, call, incoming, after=body.get("after", 0), wait=body.get("wait", True))
    indexes = body.get("indexes")
    if indexes is not None:
        for index in indexes:
            if not 0 <= index <= work.INDEX_MASK or (call.closed and index >= call.next_index):
                raise exception.InvalidError(f"call {call.id} has no input {index}; it has {call.num_inputs}")
        watcher.wanted = set(indexes)
        if core.turn.is_open:
            core.turn.flush()
        _skip_known(core, watcher)
    _watch(core, watcher)


def _skip_known(core: Core, watcher: outputs.Watcher) -> None:
    """With few indexes, answer from their rows instead of reading the whole call's outputs."""
    if watcher.position or watcher.wanted is None or watcher.call.kind == moves.Kind.GEN:
        return
    found = []
    for index in sorted(watcher.wanted):
        seq = inputs.output_seq(core.db, watcher.call.key(index))
        output = inputs.output(core.db, watcher.call.n, seq) if seq is not None else None
        if output is not None:
            found.append(output)
    watcher.position = watcher.call.next_seq - 1
    watcher.known = found


@door.handler("call.cancel", "call_id")
def cancel(core: Core, who: door.Who, body: messages.CallCancel, incoming: peer.Incoming) -> Any:
    call = find(core, body["call_id"])
    core.turn.begin()
    cancel_actions.cancel(core, call, terminate_containers=body.get("terminate_containers", False))
    return {}


@door.handler("call.get")
def get(core: Core, who: door.Who, body: messages.CallRef, incoming: peer.Incoming) -> Any:
    call = find(core, body["call_id"])
    if core.turn.is_open:
        core.turn.flush()
    return {
        "call_id": call.id,
        "function_id": call.function.id,
        "num_inputs": call.num_inputs,
        "num_done": call.num_done,
        "status": _status(inputs.status(core.db, call.key(0))),
        "created_at": call.created_at,
    }


def _status(known: tuple[moves.InputState, moves.Status | None] | None) -> str:
    if known is None or known[1] is None:
        return "pending"
    return "failure" if known[1] == moves.Status.CRASH else known[1].name.lower()


@door.handler("call.graph")
def graph(core: Core, who: door.Who, body: messages.CallRef, incoming: peer.Incoming) -> Any:
    root = find(core, body["call_id"])
    if core.turn.is_open:
        core.turn.flush()
    nodes: list[messages.GraphNode] = []
    waiting = [root.n]
    while waiting and len(nodes) < _MAX_NODES:
        call = actions.by_n(core, waiting.pop(0))
        if call is None:
            continue
        nodes.extend(_nodes(core, call, _MAX_NODES - len(nodes)))
        waiting.extend(calls.children(core.db, call.n, _MAX_NODES))
    return {"nodes": nodes}


def _nodes(core: Core, call: work.Call, limit: int) -> list[messages.GraphNode]:
    spec = call.function.spec
    parent = _parent_id(core, call)
    return [
        {
            "input_id": work.Input(call, key & work.INDEX_MASK, work.NO_DATA).id,
            "call_id": call.id,
            "parent_input_id": parent,
            "container_id": container,
            "status": _status((state, None if status is None else moves.Status(status))),
            "function_name": call.name,
            "module_name": spec["module"],
        }
        for key, state, status, container in calls.graph(core.db, call.n, limit)
    ]


def _parent_id(core: Core, call: work.Call) -> str | None:
    if call.parent is None:
        return None
    parent = actions.by_n(core, call.parent >> work.INDEX_BITS)
    return work.Input(parent, call.parent & work.INDEX_MASK, work.NO_DATA).id if parent is not None else None
