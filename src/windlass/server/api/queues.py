"""``queue.*``: items."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import collections, disk, queues, quotas, receipts
from windlass.server.decide import collections as decisions
from windlass.server.state import queues as state
from windlass.server.store import queues as store
from windlass.wire import peer
from windlass.wire.messages import collections as collection_messages
from windlass.wire.messages import queues as messages

Core = door.Core


def _part(core: Core, identity: str, partition: str) -> state.Part:
    content = collections.of(core, "queue", identity).content
    return queues.part_of(core, content, decisions.check_partition(partition))


@door.handler("queue.put")
def put(core: Core, who: door.Who, body: messages.QueuePut, incoming: peer.Incoming) -> None:
    disk.check(core)
    quotas.check_in_all(core)
    ttl = decisions.check_ttl(body["ttl"])
    for value in incoming.attachments:
        decisions.check_item(len(value))

    def act() -> tuple[Any, None]:
        part = _part(core, body["id"], body["partition"])
        return {"done": queues.put(core, part, incoming.attachments, ttl)}, None

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("queue.room")
def room(core: Core, who: door.Who, body: messages.QueueRoom, incoming: peer.Incoming) -> None:
    if not 0 <= body["count"] <= decisions.MOST_ITEMS:
        raise exception.InvalidError(f"there is never room for {body['count']:,} items")
    queues.Putter(_part(core, body["id"], body["partition"]), incoming, body["count"])


@door.handler("queue.get")
def get(core: Core, who: door.Who, body: messages.QueueGet, incoming: peer.Incoming) -> None:
    if body["count"] < 1:
        raise exception.InvalidError("nothing is asked for")
    part = _part(core, body["id"], body["partition"])
    getter = queues.Getter(core, part, incoming, count=body["count"], wait=body["wait"])
    if core.turn.is_open:
        core.turn.then(getter.start)  # what is not committed is not handed over
    else:
        getter.start()


@door.handler("queue.take")
def take(core: Core, who: door.Who, body: messages.QueueTake, incoming: peer.Incoming) -> None:
    receipts.once(
        core, who.client_id, body, incoming,
        lambda: ({"done": queues.take(core, body["hand"], incoming.peer)}, None),
    )  # fmt: skip


@door.handler("queue.back")
def back(core: Core, who: door.Who, body: messages.QueueBack, incoming: peer.Incoming) -> None:
    if len(body["seqs"]) != len(incoming.attachments):
        raise exception.InvalidError("there are not as many values as numbers")
    for value in incoming.attachments:
        decisions.check_item(len(value))

    def act() -> tuple[Any, None]:
        part = _part(core, body["id"], body["partition"])
        if part.n == body["part"]:
            queues.back(core, part, body["seqs"], incoming.attachments)
        return {}, None

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("queue.len")
def length(core: Core, who: door.Who, body: messages.QueueLen, incoming: peer.Incoming) -> Any:
    if not body["total"]:
        return {"len": _part(core, body["id"], body["partition"]).count}
    content = collections.of(core, "queue", body["id"]).content
    return {"len": store.total(core.db, content, core.clock.now(), decisions.MOST_COUNTED)}


@door.handler("queue.figures")
def figures(core: Core, who: door.Who, body: collection_messages.CollectionRef, incoming: peer.Incoming) -> Any:
    content, now = collections.of(core, "queue", body["id"]).content, core.clock.now()
    return {
        "partitions": store.filled_partitions(core.db, content, now),
        "total": store.total(core.db, content, now, decisions.MOST_COUNTED + 1),
    }


@door.handler("queue.clear")
def clear(core: Core, who: door.Who, body: messages.QueueClear, incoming: peer.Incoming) -> None:
    def act() -> tuple[Any, None]:
        if body["all"]:
            queues.empty_queue(core, collections.of(core, "queue", body["id"]))
        else:
            queues.empty_part(core, _part(core, body["id"], body["partition"]))
        return {}, None

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("queue.look")
def look(core: Core, who: door.Who, body: messages.QueueLook, incoming: peer.Incoming) -> None:
    part = _part(core, body["id"], body["partition"])
    queues.Reader(core, part, incoming, after=body["after"], follow=body["follow"]).pump()
