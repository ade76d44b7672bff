"""``blob.*``."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import disk, quotas
from windlass.server.bus import link
from windlass.wire import payload, peer
from windlass.wire.messages import blobs as messages

Core = door.Core


@door.handler("blob.missing")
def missing(core: Core, who: door.Who, body: messages.BlobQuery, incoming: peer.Incoming) -> Any:
    return {"missing": core.blobs.missing(body["digests"])}


@door.handler("blob.put")
def put(core: Core, who: door.Who, body: messages.BlobPut, incoming: peer.Incoming) -> Any:
    chunk = piece(core, body, incoming, counts=who.role != "runner")  # results of what was accepted are kept
    keeping = core.blobs.put(
        body["upload_id"], body["digest"], body["offset"], chunk, last=body["last"], owner=incoming.peer
    )
    return {} if keeping is None else kept(core, incoming, keeping, {})


def piece(core: Core, body: messages.BlobPut, incoming: peer.Incoming, *, counts: bool = True) -> bytes:
    """The next bytes of an upload. Raises ``ResourceExhaustedError`` where there is no room for them; ``counts``:
    also where quotas leave none."""
    disk.check(core)
    chunk = incoming.attachments[0] if incoming.attachments else b""
    if len(chunk) > payload.CHUNK:
        raise exception.RequestSizeError(f"a chunk has at most {payload.CHUNK:,} bytes")
    if counts:
        quotas.check_piece(core, body["offset"], len(chunk))
    return chunk


def kept(core: Core, incoming: peer.Incoming, keeping: Coroutine[Any, Any, None], answer: Any) -> None:
    """Answer when it is stored."""

    async def reply() -> None:
        await keeping
        incoming.reply(answer)

    core.tasks.start(door.answered(incoming, reply()), incoming.method)


@door.handler("blob.get")
def get(core: Core, who: door.Who, body: messages.BlobGet, incoming: peer.Incoming) -> None:
    if body["offset"] < 0:
        raise exception.InvalidError("a blob begins at byte 0")
    core.blobs.size(body["digest"])
    download = _Download(core, body["digest"], body["offset"], incoming)
    verify = body.get("verify", False)
    if core.blobs.is_here(body["digest"]) and not verify:
        download.pump()
        return

    async def bring() -> None:
        if verify:
            await core.blobs.verify(body["digest"])
        await core.blobs.bring(body["digest"])
        download.pump()

    core.tasks.start(door.answered(incoming, bring()), "blob.get")


class _Download:
    """One open ``blob.get``: sends as long as the connection takes more."""

    def __init__(self, core: Core, digest: str, offset: int, incoming: peer.Incoming) -> None:
        self._core = core
        self._digest = digest
        self._offset = offset
        self._incoming = incoming
        self._link: link.Link = incoming.peer  # type: ignore[assignment]

    def pump(self) -> None:
        while self._incoming.open:
            if not self._link.writable:
                self._link.waiting.append(self.pump)
                return
            chunk = self._core.blobs.read(self._digest, self._offset, payload.CHUNK)
            if not chunk:
                self._incoming.end()
                return
            self._incoming.item({"offset": self._offset}, [chunk])
            self._offset += len(chunk)
            self._link.flush()
