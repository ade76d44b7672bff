"""Values on their way: small ones inside messages, large ones as blobs in chunks.

Nothing is held twice: uploads send views of the pickled value, downloads fill one buffer.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from windlass import exception
from windlass.client import session
from windlass.kit import ids
from windlass.wire import codec, payload
from windlass.wire.messages import blobs, common

_ATTEMPTS = 3


async def store(home: session.Session, data: codec.Bytes) -> str:
    """Bring ``data`` to the server unless it is there; returns its digest."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    query: blobs.BlobQuery = {"digests": [digest]}
    if not (await home.request("blob.missing", query)).body["missing"]:
        return digest
    for attempt in range(_ATTEMPTS):
        try:
            await _upload(home, digest, memoryview(data))
            return digest
        except (exception.InvalidError, exception.NotFoundError, exception.DataLossError):
            if attempt == _ATTEMPTS - 1:  # a restarted server forgets half uploads: they begin anew
                raise
    raise AssertionError("unreachable")


async def _upload(home: session.Session, digest: str, view: memoryview) -> None:
    upload_id = ids.new("up")
    for offset in range(0, len(view), payload.CHUNK):
        chunk = view[offset : offset + payload.CHUNK]
        body: blobs.BlobPut = {
            "upload_id": upload_id,
            "digest": digest,
            "offset": offset,
            "last": offset + len(chunk) == len(view),
        }
        await home.request("blob.put", body, [chunk])


async def fetch(home: session.Session, digest: str, size: int) -> bytearray:
    """The bytes of a blob. Raises ``DataLossError`` where they are no longer what was stored."""
    for verify in (False, True):  # where it is the server's disk that is wrong, the server says so the second time
        found = hashlib.sha256()
        buffer = await _fetched(home, digest, size, found.update, verify=verify)
        if "sha256:" + found.hexdigest() == digest:
            return buffer
    raise payload.damaged(digest)


async def _fetched(
    home: session.Session, digest: str, size: int, seen: Callable[[codec.Bytes], None], *, verify: bool
) -> bytearray:
    """Goes on where it was when the connection is lost. ``seen`` gets each piece."""
    buffer = bytearray(size)
    filled = 0
    patience = session.Patience()
    while filled < size:
        query: blobs.BlobGet = {"digest": digest, "offset": filled}
        if verify and not filled:
            query["verify"] = True
        try:
            async for reply in home.stream("blob.get", query):
                chunk = reply.attachments[0]
                seen(chunk)
                buffer[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
        except exception.ServiceError as exc:
            await patience.wait(exc)
            continue
        if filled < size:
            raise exception.DataLossError(f"a value of {size:,} bytes arrived with {filled:,}")
    return buffer


async def pack(home: session.Session, data: codec.Bytes, attachments: list[codec.Bytes]) -> common.Payload:
    """``data`` as a payload of a message with these attachments."""
    size = len(data)
    if size <= payload.INLINE_LIMIT:
        attachments.append(data)
        return {"at": len(attachments) - 1, "size": size}
    return {"blob": await store(home, data), "size": size}


async def unpack(home: session.Session, value: common.Payload, attachments: Sequence[bytes]) -> bytes | bytearray:
    """The bytes of a payload that arrived with these attachments."""
    at = value.get("at")
    if at is not None:
        return attachments[at]
    return await fetch(home, value["blob"], value["size"])
