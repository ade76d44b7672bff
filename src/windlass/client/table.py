"""Dicts as a client sees them: pickled keys and values to and from the server, large values as blobs beside them."""
from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from windlass import exception
from windlass.client import blobs, numbers, session
from windlass.wire import codec, payload, peer
from windlass.wire.messages import dicts

Entry = tuple[bytes, codec.Bytes]

_ATTEMPTS = 5
"""A large value may be replaced, and its blob deleted, between two steps; so often in a row it does not happen."""
_FRAME = 32 * 1024 * 1024
"""Bytes of values that travel in one message; beyond that the larger ones of them go as blobs."""
_SMALL = 2048


async def get(identity: str, key: bytes) -> codec.Bytes | None:
    home = session.current()
    for attempt in range(_ATTEMPTS):
        reply = await home.request("dict.get", {"id": identity}, [key])
        try:
            return await _value(home, reply)
        except exception.NotFoundError:  # it was replaced since
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


async def has(identity: str, key: bytes) -> bool:
    reply = await session.current().request("dict.has", {"id": identity}, [key])
    return bool(reply.body["found"])


async def put(identity: str, key: bytes, value: codec.Bytes, *, skip_if_exists: bool) -> bool:
    home = session.current()
    for attempt in range(_ATTEMPTS):
        attachments: list[codec.Bytes] = [key]
        where = await blobs.pack(home, value, attachments)
        body = {"id": identity, "value": where, "skip_if_exists": skip_if_exists}
        try:
            return bool((await numbers.change(home, "dict.put", body, attachments)).body["written"])
        except exception.ConflictError:  # another entry had the same large value, and has gone meanwhile
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


async def pop(identity: str, key: bytes) -> codec.Bytes | None:
    home = session.current()
    with home.numbers.one() as fields:  # until then the server keeps a large value
        return await _value(home, await home.request("dict.pop", {"id": identity, **fields}, [key]))


async def update(identity: str, keys: list[bytes], values: list[bytes]) -> None:
    """Write all of them in one step."""
    home = session.current()
    limit = payload.INLINE_LIMIT if sum(map(len, values)) <= _FRAME else _SMALL
    for attempt in range(_ATTEMPTS):
        large: list[dicts.Large] = []
        attachments: list[codec.Bytes] = []
        for index, (key, value) in enumerate(zip(keys, values, strict=True)):
            attachments += (key, value if len(value) <= limit else b"")
            if len(value) > limit:
                large.append({"index": index, "blob": await blobs.store(home, value), "size": len(value)})
        try:
            await numbers.change(home, "dict.update", {"id": identity, "large": large}, attachments)
            return
        except exception.ConflictError:
            if attempt == _ATTEMPTS - 1:
                raise


async def scan(identity: str, *, values: bool) -> AsyncGenerator[list[Entry], None]:
    """Pages of entries, without ``values`` of keys; goes on where it was when the connection is lost."""
    home, patience, behind = session.current(), session.Patience(), list[bytes]()
    while True:
        stream = home.stream("dict.scan", {"id": identity, "values": values, "after": bool(behind)}, behind)
        try:
            async with contextlib.aclosing(stream) as replies:
                async for reply in replies:
                    keys = reply.attachments[::2] if values else reply.attachments
                    behind, patience = [keys[-1]], session.Patience()
                    yield await _page(home, reply) if values else [(key, b"") for key in keys]
            return
        except exception.ServiceError as exc:
            await patience.wait(exc)


async def _page(home: session.Session, reply: peer.Reply) -> list[Entry]:
    """Entries whose large value has been replaced since are left out: they were written meanwhile."""
    parts = reply.attachments
    found: dict[int, Entry] = dict(enumerate(zip(parts[::2], parts[1::2], strict=True)))
    for large in reply.body["large"]:
        index = large["index"]
        try:
            found[index] = found[index][0], await blobs.fetch(home, large["blob"], large["size"])
        except exception.NotFoundError:
            del found[index]
    return list(found.values())


async def _value(home: session.Session, reply: peer.Reply) -> codec.Bytes | None:
    where: Any = reply.body.get("value")
    return None if where is None else await blobs.unpack(home, where, reply.attachments)
