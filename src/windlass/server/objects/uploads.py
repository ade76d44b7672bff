"""Files on their way into volumes: as blobs, but large ones come without a digest, which is found out here.

To hash a large file takes longer than to write it. So it is done once, here, by a thread beside the loop that receives
and writes; of a file that the server can see, several threads copy and hash a piece each.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import os
from pathlib import Path
from typing import Any

import blake3

from windlass import exception
from windlass.kit import digests, ids
from windlass.server.objects import blobs, copying, disk
from windlass.wire import payload
from windlass.wire.messages import volumes as messages

_AHEAD = 8
"""Pieces of one upload that may be written and not yet hashed."""


class _Stream:
    def __init__(self, path: Path, owner: Any) -> None:
        self.path = path
        self.file = path.open("wb")
        self.hash = digests.Reading(digests.BLAKE3, blake3.blake3)
        self.offset = 0
        self.owner = owner
        self.behind: collections.deque[concurrent.futures.Future[None]] = collections.deque()


class Uploads(blobs.Blobs):
    """Blobs below ``folder``, and streams that become some."""

    def __init__(self, folder: Path, spawn: blobs.Spawn, *, synchronous: bool) -> None:
        self._disk = disk.Disk(folder, synchronous=synchronous)
        super().__init__(folder, self._disk, spawn)
        self._streams: dict[str, _Stream] = {}
        self._hasher = concurrent.futures.ThreadPoolExecutor(1, "hash of uploads")
        self._lanes = concurrent.futures.ThreadPoolExecutor(copying.LANES, "copy of a file")

    def stream(self, upload_id: str, offset: int, chunk: bytes, *, last: bool, owner: Any) -> str:
        """Take one chunk of an upload without a digest; the digest with the last. Chunks come in order."""
        try:
            with blobs.told(self._folder):
                upload = self._stream_at(upload_id, offset, owner)
                if upload.offset + len(chunk) > payload.MAX_SIZE:
                    raise exception.RequestSizeError(f"an upload may have at most {payload.MAX_SIZE:,} bytes")
                upload.behind.append(self._hasher.submit(upload.hash.update, chunk))
                upload.file.write(chunk)
                upload.offset += len(chunk)
                while len(upload.behind) > (0 if last else _AHEAD):
                    upload.behind.popleft().result()
                return self._finish(upload_id, upload) if last else ""
        except BaseException:
            self._drop(upload_id)
            raise

    def _stream_at(self, upload_id: str, offset: int, owner: Any) -> _Stream:
        if offset == 0:
            self._drop(upload_id)
            name = "stream-" + hashlib.sha256(os.fsencode(upload_id)).hexdigest()
            self._streams[upload_id] = _Stream(self._incoming / name, owner)
        upload = self._streams.get(upload_id)
        if upload is None or upload.offset != offset or upload.owner is not owner:
            raise exception.ConflictError(
                f"upload {upload_id} does not continue at byte {offset:,}", hint="Begin it again at byte 0."
            )
        return upload

    def _finish(self, upload_id: str, upload: _Stream) -> str:
        digest = upload.hash.digest()
        name = digests.name(digest)
        upload.file.close()
        self._disk.take(f"{name[:2]}/{name}", upload.path)
        del self._streams[upload_id]
        return digest

    def copy(self, process: int, body: messages.VolumeCopy, how_far: copying.Copying) -> str:
        """Copy a file that a program has open; its digest, "" where that was not wanted to the end. For a thread."""
        if not 0 <= body["size"] <= payload.MAX_SIZE:
            raise exception.RequestSizeError(f"an upload may have at most {payload.MAX_SIZE:,} bytes")
        draft = self._incoming / ids.new("copy")
        try:
            with copying.opened(process, body) as source, blobs.told(self._folder), draft.open("w+b") as target:
                digest = copying.copy(source, target, body["size"], how_far, self._lanes)
            if name := digests.name(digest):
                self._disk.take(f"{name[:2]}/{name}", draft)
            return digest
        finally:
            draft.unlink(missing_ok=True)

    def _drop(self, upload_id: str) -> None:
        upload = self._streams.pop(upload_id, None)
        if upload is not None:
            upload.file.close()
            upload.path.unlink(missing_ok=True)

    def abandon(self, owner: Any) -> None:
        super().abandon(owner)
        for upload_id in [key for key, upload in self._streams.items() if upload.owner is owner]:
            self._drop(upload_id)

    def forget_unfinished(self, before: float) -> None:
        idle = {one.digest for one in self.unfinished(before)}
        for upload_id in [key for key, upload in self._streams.items() if upload.path.name in idle]:
            self._drop(upload_id)
        super().forget_unfinished(before)
