"""The life of dicts and queues: found or made by name, emptied, deleted; ephemeral ones end with their client."""

from __future__ import annotations

from collections.abc import Callable

from windlass import exception
from windlass.server.apply import blobs
from windlass.server.apply import core as core_module
from windlass.server.store import collections, dicts, queues
from windlass.wire.messages import collections as messages

Core = core_module.Core
Row = collections.Row
_REMEMBERED = 10_000
_CHUNK = 500  # rows that are deleted in one turn

EMPTIED: list[Callable[[Core, int], None]] = []
"""What else happens when a content is dropped; who keeps something of it in memory adds to it."""


def of(core: Core, kind: str, identity: str) -> Row:
    """The dict or queue of that id.

    Raises:
        NotFoundError: there is none; it may have been deleted.
    """
    row = core.collections.get(identity)
    if row is None:
        row = collections.by_id(core.db, identity)
    if row is None or row.kind != kind:
        raise exception.NotFoundError(f"no {kind} {identity[:60]}; was it deleted?")
    if len(core.collections) >= _REMEMBERED:
        core.collections.clear()
    core.collections[identity] = row
    return row


def named(core: Core, kind: str, environment: str, name: str) -> Row:
    row = collections.by_name(core.db, kind, environment, name)
    if row is None:
        raise exception.NotFoundError(
            f"no {kind} {name!r} in environment {environment!r}",
            hint=f"Make it: `windlass {kind} create {name}{core_module.where(core, environment)}`, or pass "
            "create_if_missing=True.",
        )
    return row


def open_named(core: Core, kind: str, environment: str, name: str, body: messages.CollectionOpen) -> Row:
    """Find it, or make it as ``create`` says."""
    create = body.get("create", "never")
    row = collections.by_name(core.db, kind, environment, name)
    if row is None and create == "never":
        return named(core, kind, environment, name)
    if row is None:
        return make(core, kind, environment, name, body, client=None)
    if create == "always" and row.id != body.get("id"):
        raise exception.AlreadyExistsError(f"there is a {kind} {name!r} in environment {environment!r} already")
    return row


def make(
    core: Core, kind: str, environment: str, name: str | None, body: messages.CollectionOpen, *, client: str | None
) -> Row:
    known = collections.by_id(core.db, body["id"])
    if known is not None and (known.kind, known.name, known.client) == (kind, name, client):
        return known
    if known is not None:
        raise exception.AlreadyExistsError(f"{body['id']} is something else already")
    core.turn.begin()
    row = Row(
        body["id"], kind, name, environment, client, collections.new_content(core.db, kind),
        core.clock.now(), body.get("by", "")[:100],
    )  # fmt: skip
    collections.insert(core.db, row)
    return row


def empty(core: Core, row: Row) -> None:
    """Nothing is in it any more, at once; the rows go later."""
    renew(core, row)
    drop_content(core, row.content)


def renew(core: Core, row: Row) -> int:
    """Give it a new content, which is returned."""
    core.turn.begin()
    content = collections.new_content(core.db, row.kind)
    collections.set_content(core.db, row.id, content)
    core.collections.pop(row.id, None)
    return content


def delete(core: Core, row: Row) -> None:
    core.turn.begin()
    collections.delete(core.db, row)
    core.collections.pop(row.id, None)
    drop_content(core, row.content)


def drop_content(core: Core, content: int) -> None:
    collections.drop_content(core.db, content)
    for callback in EMPTIED:
        callback(core, content)


def end_client(core: Core, client: str) -> None:
    """What was made for a client that is gone."""
    for row in collections.of_client(core.db, client):
        delete(core, row)


def end_environment(core: Core, environment: str) -> None:
    for row in collections.of_environment(core.db, environment):
        delete(core, row)


def info(row: Row) -> messages.CollectionInfo:
    return {
        "id": row.id,
        "name": row.name or "",
        "environment": row.environment,
        "created_at": row.created_at,
        "created_by": row.created_by,
    }


def sweep(core: Core) -> bool:
    """Delete some rows of what was dropped. True when there is more."""
    found = collections.dropped(core.db)
    if found is None:
        return False
    n, kind = found
    core.turn.begin()
    if not _sweep(core, kind, n):
        collections.forget_content(core.db, n)
    return True


def _sweep(core: Core, kind: str, n: int) -> bool:
    """Whether there may be more of this content."""
    if kind == "dict":
        places = dicts.some(core.db, n, _CHUNK)
        dicts.delete(core.db, [(n, place.key) for place in places])
        blobs.drop(core, [place.blob for place in places if place.blob is not None])
        return len(places) == _CHUNK
    if kind == "queue":
        parts = queues.some_partitions(core.db, n, _CHUNK)
        for part in parts:
            collections.drop_content(core.db, part.n)
            queues.forget_partition(core.db, part)
        return len(parts) == _CHUNK
    return queues.delete_some(core.db, n, _CHUNK)
