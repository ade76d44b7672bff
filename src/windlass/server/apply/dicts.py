"""Dicts: entries are rows, a change is a transaction with all others of its turn, a read may be one, too."""

from __future__ import annotations

from collections.abc import Sequence

from windlass import exception
from windlass.server.apply import blobs
from windlass.server.apply import calls as call_actions
from windlass.server.apply import core as core_module
from windlass.server.decide import collections as decisions
from windlass.server.state import work
from windlass.server.store import dicts
from windlass.wire import payload
from windlass.wire.messages import common
from windlass.wire.messages import dicts as messages

Core = core_module.Core
_WALK = 1000  # entries that are looked at in one look


def expiry(core: Core) -> decisions.Expiry:
    return decisions.Expiry(core.settings.keep_entries, core.settings.entries_grain)


def value_of(core: Core, given: common.Payload, attachments: list[bytes]) -> work.Data:
    """A value that may become an entry's. Raises what says why it may not."""
    data = call_actions.payload_of(given, attachments)
    if data.blob is not None:
        return blob_of(core, data.blob)
    if data.size > payload.INLINE_LIMIT:
        raise exception.RequestSizeError(f"a value of {data.size:,} bytes must be a blob")
    return data


def blob_of(core: Core, digest: str) -> work.Data:
    if not core.blobs.has(digest):
        raise exception.ConflictError(f"blob {digest} was not uploaded", hint="Upload it again.")
    size = core.blobs.size(digest)
    decisions.check_value(size)
    return work.Data(None, digest, size)


def find(core: Core, content: int, key: bytes) -> dicts.Entry | None:
    """An entry, and its life begins anew."""
    entry, now, rule = dicts.get(core.db, content, key), core.clock.now(), expiry(core)
    if entry is None or rule.is_gone(entry.used_at, now):
        return None
    if rule.is_due(entry.used_at, now):
        core.turn.begin()
        dicts.touch(core.db, content, key, now)
    return entry


def has(core: Core, content: int, key: bytes) -> bool:
    now, rule = core.clock.now(), expiry(core)
    place = dicts.peek(core.db, content, key)
    if place is None or rule.is_gone(place.used_at, now):
        return False
    if rule.is_due(place.used_at, now):
        core.turn.begin()
        dicts.touch(core.db, content, key, now)
    return True


def put(core: Core, content: int, key: bytes, data: work.Data, *, skip_if_exists: bool) -> bool:
    """Whether it was written."""
    old, now = dicts.peek(core.db, content, key), core.clock.now()
    if skip_if_exists and old is not None and not expiry(core).is_gone(old.used_at, now):
        return False
    dicts.put(core.db, content, [(key, data)], now)
    if old is not None and old.blob is not None and old.blob != data.blob:
        blobs.drop(core, [old.blob])
    return True


def pop(core: Core, content: int, key: bytes) -> work.Data | None:
    """Take an entry out. Its blob, if it has one, is kept by the receipt of who asked."""
    entry = dicts.get(core.db, content, key)
    if entry is None or expiry(core).is_gone(entry.used_at, core.clock.now()):
        return None
    dicts.delete(core.db, [(content, key)])
    return entry.data


def entries_of(
    core: Core, body: messages.DictUpdate, attachments: Sequence[bytes]
) -> list[tuple[bytes, work.Data]]:
    """What an update shall write. Raises what says why it may not."""
    if len(attachments) % 2:
        raise exception.InvalidError("an update has as many keys as values")
    decisions.check_update(len(attachments) // 2)
    keys, values = attachments[::2], [work.Data(value, None, len(value)) for value in attachments[1::2]]
    for large in body["large"]:
        if not 0 <= large["index"] < len(values):
            raise exception.InvalidError("a large value has no key")
        values[large["index"]] = blob_of(core, large["blob"])
    for key in keys:
        decisions.check_key(len(key))
    for data in values:
        if data.blob is None and data.size > payload.INLINE_LIMIT:
            raise exception.RequestSizeError(f"a value of {data.size:,} bytes must be a blob")
    return list(zip(keys, values, strict=True))


def update(core: Core, content: int, entries: list[tuple[bytes, work.Data]]) -> None:
    """Write all of them at once."""
    old: list[str] = []
    if dicts.has_blobs(core.db, content):
        places = (dicts.peek(core.db, content, key) for key, _ in entries)
        old = [place.blob for place in places if place is not None and place.blob is not None]
    dicts.put(core.db, content, entries, core.clock.now())
    blobs.drop(core, old)


def count(core: Core, content: int) -> int:
    after = expiry(core).horizon(core.clock.now())
    return dicts.count(core.db, content, after=after, most=decisions.MOST_COUNTED)


class Walk:
    """Goes round all entries, a thousand at a time, and takes out those that have expired."""

    def __init__(self) -> None:
        self._behind: tuple[int, bytes] = (0, b"")

    def step(self, core: Core) -> None:
        places = dicts.walk(core.db, self._behind, _WALK)
        rule, now = expiry(core), core.clock.now()
        gone = [place for place in places if rule.is_gone(place.used_at, now)]
        if gone:
            core.turn.begin()
            dicts.delete(core.db, [(place.content, place.key) for place in gone])
            blobs.drop(core, [place.blob for place in gone if place.blob is not None])
        last = places[-1] if len(places) == _WALK else None
        self._behind = (last.content, last.key) if last is not None else (0, b"")
