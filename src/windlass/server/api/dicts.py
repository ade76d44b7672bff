"""``dict.*``: entries."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import collections, dicts, disk, quotas, receipts
from windlass.server.bus import link
from windlass.server.decide import collections as decisions
from windlass.server.state import work
from windlass.server.store import dicts as store
from windlass.wire import codec, peer
from windlass.wire.messages import collections as collection_messages
from windlass.wire.messages import dicts as messages

Core = door.Core
_PAGE = 512
_PAGE_BYTES = 1024 * 1024


def _content(core: Core, identity: str) -> int:
    return collections.of(core, "dict", identity).content


def _key(incoming: peer.Incoming) -> bytes:
    if not incoming.attachments:
        raise exception.InvalidError(f"{incoming.method}: the key is missing")
    key = incoming.attachments[0]
    decisions.check_key(len(key))
    return key


def _reply(core: Core, incoming: peer.Incoming, body: Any, attachments: list[codec.Bytes]) -> None:
    """Not before the commit of what was read."""
    if core.turn.is_open:
        core.turn.answer(incoming, body, attachments)
    else:
        incoming.reply(body, attachments)


@door.handler("dict.get")
def get(core: Core, who: door.Who, body: messages.DictKey, incoming: peer.Incoming) -> None:
    entry = dicts.find(core, _content(core, body["id"]), _key(incoming))
    attachments: list[codec.Bytes] = []
    answer = {} if entry is None else {"value": receipts.payload(entry.data, attachments)}
    _reply(core, incoming, answer, attachments)


@door.handler("dict.has")
def has(core: Core, who: door.Who, body: messages.DictKey, incoming: peer.Incoming) -> Any:
    return {"found": dicts.has(core, _content(core, body["id"]), _key(incoming))}


@door.handler("dict.put", "id", "value", "op", "low")
def put(core: Core, who: door.Who, body: messages.DictPut, incoming: peer.Incoming) -> None:
    _check_disk(core)

    def act() -> tuple[Any, None]:
        content, key = _content(core, body["id"]), _key(incoming)
        data = dicts.value_of(core, body["value"], incoming.attachments)
        skip = body.get("skip_if_exists", False)
        return {"written": dicts.put(core, content, key, data, skip_if_exists=skip)}, None

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("dict.pop")
def pop(core: Core, who: door.Who, body: messages.DictPop, incoming: peer.Incoming) -> None:
    def act() -> tuple[Any, work.Data | None]:
        return {}, dicts.pop(core, _content(core, body["id"]), _key(incoming))

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("dict.update")
def update(core: Core, who: door.Who, body: messages.DictUpdate, incoming: peer.Incoming) -> None:
    _check_disk(core)

    def act() -> tuple[Any, None]:
        content = _content(core, body["id"])
        dicts.update(core, content, dicts.entries_of(core, body, incoming.attachments))
        return {}, None

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("dict.clear")
def clear(core: Core, who: door.Who, body: messages.DictClear, incoming: peer.Incoming) -> None:
    def act() -> tuple[Any, None]:
        collections.empty(core, collections.of(core, "dict", body["id"]))
        return {}, None

    receipts.once(core, who.client_id, body, incoming, act)


@door.handler("dict.len")
def length(core: Core, who: door.Who, body: collection_messages.CollectionRef, incoming: peer.Incoming) -> Any:
    return {"len": dicts.count(core, _content(core, body["id"]))}


def _check_disk(core: Core) -> None:
    disk.check(core)
    quotas.check_in_all(core)


@door.handler("dict.scan")
def scan(core: Core, who: door.Who, body: messages.DictScan, incoming: peer.Incoming) -> None:
    after = _key(incoming) if body["after"] else b""
    _Scan(core, _content(core, body["id"]), after, incoming, values=body["values"]).pump()


class _Scan:
    """One open ``dict.scan``: sends pages as long as the connection takes more."""

    def __init__(self, core: Core, content: int, key: bytes, incoming: peer.Incoming, *, values: bool) -> None:
        self._core = core
        self._content = content
        self._key = key
        self._values = values
        self._incoming = incoming
        self._link: link.Link = incoming.peer  # type: ignore[assignment]

    def pump(self) -> None:
        while self._incoming.open:
            if self._core.turn.is_open:
                self._core.turn.then(self.pump)  # what is not committed is not shown
                return
            if not self._link.writable:
                self._link.waiting.append(self.pump)
                return
            attachments: list[codec.Bytes] = []
            large = self._read(attachments)
            if not attachments:
                self._incoming.end()
                return
            self._incoming.item({"large": large}, attachments)
            self._link.flush()

    def _read(self, attachments: list[codec.Bytes]) -> list[messages.Large]:
        """The next page."""
        db, after = self._core.db, dicts.expiry(self._core).horizon(self._core.clock.now())
        if not self._values:
            attachments += store.keys(db, self._content, self._key, after=after, limit=_PAGE)
            self._key = bytes(attachments[-1]) if attachments else self._key
            return []
        size, large = 0, []
        for key, data in store.scan(db, self._content, self._key, after=after, limit=_PAGE):
            if data.blob is not None:
                large.append(messages.Large(index=len(attachments) // 2, blob=data.blob, size=data.size))
            attachments += [key, data.inline or b""]
            self._key = key
            size += len(key) + len(data.inline or b"")
            if size > _PAGE_BYTES:
                break
        return large
