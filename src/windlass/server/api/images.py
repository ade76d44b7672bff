"""``image.build`` and ``blob.*``."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import builds
from windlass.server.bus import link
from windlass.wire import payload, peer
from windlass.wire.messages import blobs as blob_messages
from windlass.wire.messages import images as messages

Core = door.Core


@door.handler("image.build")
def build(core: Core, who: door.Who, body: messages.ImageBuild, incoming: peer.Incoming) -> None:
    if not body["recipes"] or body["recipes"][0].get("op") != "base":
        raise exception.InvalidError("an image begins with a base")
    if core.low_disk:
        raise exception.ResourceExhaustedError(core.low_disk, hint="Free space on that disk and try again.")
    builds.Chain(core, body["recipes"], body["app_id"], incoming).advance()


@door.handler("image.contents")
def contents(core: Core, who: door.Who, body: messages.ImageQuery, incoming: peer.Incoming) -> None:
    core.tasks.start(_contents(core, set(body["image_ids"]), incoming), "image.contents")


async def _contents(core: Core, wanted: set[str], incoming: peer.Incoming) -> None:
    """Each worker tells of what it has."""
    found: dict[str, messages.Contents] = {}
    try:
        for worker in list(core.world.workers.values()):
            if here := sorted((wanted & worker.images) - found.keys()):
                found.update((await worker.peer.request("image.contents", {"image_ids": here})).body["images"])
        incoming.reply({"images": found})
    except exception.Error as exc:
        incoming.fail(exc)


@door.handler("blob.missing")
def missing(core: Core, who: door.Who, body: blob_messages.BlobQuery, incoming: peer.Incoming) -> Any:
    return {"missing": [digest for digest in body["digests"] if not core.blobs.has(digest)]}


@door.handler("blob.put")
def put(core: Core, who: door.Who, body: blob_messages.BlobPut, incoming: peer.Incoming) -> Any:
    if core.low_disk:
        raise exception.ResourceExhaustedError(core.low_disk, hint="Free space on that disk and try again.")
    chunk = incoming.attachments[0] if incoming.attachments else b""
    if len(chunk) > payload.CHUNK:
        raise exception.RequestSizeError(f"a chunk has at most {payload.CHUNK:,} bytes")
    core.blobs.put(body["upload_id"], body["digest"], body["offset"], chunk, last=body["last"], owner=incoming.peer)
    return {}


@door.handler("blob.get")
def get(core: Core, who: door.Who, body: blob_messages.BlobGet, incoming: peer.Incoming) -> None:
    if body["offset"] < 0:
        raise exception.InvalidError("a blob begins at byte 0")
    core.blobs.size(body["digest"])
    _Download(core, body["digest"], body["offset"], incoming).pump()


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
