"""Files on their way into volumes: as blobs, but large ones come without a digest, which is found out here.

To hash a large file takes longer than to write it. So it is done once, here, by a thread beside the loop that receives
and writes; of a file that the server can see, several threads copy and hash a piece each.

    incoming/stream-<digest of its name>    what has come of one

An upload whose sender asked how far it is (``resume``) stays when the sender is gone, or the server: whoever asks again
goes on behind the last whole piece (``kit.digests``). After a power cut it begins anew, for nobody knows what of it
reached the disk; so its name holds this start of the machine.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import hashlib
import os
import time
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
_QUIET = 5.0  # seconds after which a sender of whom nothing comes has left, whatever its connection says
_LOOK = 0.1
_CHUNK = 1024 * 1024
_STREAM = "stream-"


class _Stream:
    """``lasting``: it stays when its owner goes. ``offset`` -1: what is here is being hashed, and nothing is taken."""

    def __init__(self, path: Path, owner: Any, *, lasting: bool = False) -> None:
        self.path = path
        self.file = path.open("ab" if lasting else "wb")
        self.hash = digests.Reading(digests.BLAKE3, blake3.blake3)
        self.offset = -1 if lasting else 0
        self.owner = owner
        self.lasting = lasting
        self.at = time.monotonic()
        self.behind: collections.deque[concurrent.futures.Future[None]] = collections.deque()

    def catch_up(self, size: int) -> None:
        """Hash the whole pieces that are here, all but the last of a file of ``size`` bytes, and forget the rest."""
        here, done = min(self.path.stat().st_size, size - 1), 0
        self.file.truncate(here - here % digests.PIECE)
        with self.path.open("rb", buffering=0) as source:
            while piece := source.read(_CHUNK):
                self.hash.update(piece)
                done += len(piece)
        self.offset = done


class Uploads(blobs.Blobs):
    """Blobs below ``folder``, and streams that become some."""

    def __init__(self, folder: Path, spawn: blobs.Spawn, *, synchronous: bool) -> None:
        self._disk = disk.Disk(folder, synchronous=synchronous)
        super().__init__(folder, self._disk, spawn)
        self._streams: dict[str, _Stream] = {}
        self._boot = _boot()
        self._hasher = concurrent.futures.ThreadPoolExecutor(1, "hash of uploads")
        self._lanes = concurrent.futures.ThreadPoolExecutor(copying.LANES, "copy of a file")

    def _left(self) -> list[Path]:
        return [path for path in super()._left() if not path.name.startswith(_STREAM)]

    async def resume(self, upload_id: str, size: int, owner: Any) -> int:
        """Where an upload without a digest, of ``size`` bytes, goes on: at 0, or behind what came of it before.

        Raises:
            ConflictError: another one sends it at this moment.
        """
        if not 0 < size <= payload.MAX_SIZE:
            raise exception.RequestSizeError(f"an upload may have at most {payload.MAX_SIZE:,} bytes")
        while (there := self._streams.get(upload_id)) is not None and there.owner is not owner:
            before = there.at
            if time.monotonic() - before > _QUIET:
                break
            await asyncio.sleep(_LOOK)
            if there.at != before:
                raise exception.ConflictError("another program sends this file at this moment")
        with blobs.told(self._folder):
            self._put_aside(upload_id)
            upload = self._streams[upload_id] = _Stream(self._path(upload_id), owner, lasting=True)
            try:
                await asyncio.to_thread(upload.catch_up, size)
            except BaseException:
                if self._streams.get(upload_id) is upload:
                    self._drop(upload_id)
                raise
        if self._streams.get(upload_id) is not upload:
            raise exception.ConflictError("another program sends this file at this moment")
        upload.at = time.monotonic()
        return upload.offset

    def _path(self, upload_id: str) -> Path:
        return self._incoming / (_STREAM + hashlib.sha256(os.fsencode(f"{self._boot} {upload_id}")).hexdigest())

    def stream(self, upload_id: str, offset: int, chunk: bytes, *, last: bool, owner: Any) -> str:
        """Take one chunk of an upload without a digest; the digest with the last. Chunks come in order."""
        upload = self._stream_at(upload_id, offset, owner)
        try:
            with blobs.told(self._folder):
                if upload.offset + len(chunk) > payload.MAX_SIZE:
                    raise exception.RequestSizeError(f"an upload may have at most {payload.MAX_SIZE:,} bytes")
                upload.behind.append(self._hasher.submit(upload.hash.update, chunk))
                upload.file.write(chunk)
                upload.offset += len(chunk)
                upload.at = time.monotonic()
                while len(upload.behind) > (0 if last else _AHEAD):
                    upload.behind.popleft().result()
                return self._finish(upload_id, upload) if last else ""
        except BaseException:
            self._drop(upload_id)
            raise

    def _stream_at(self, upload_id: str, offset: int, owner: Any) -> _Stream:
        upload = self._streams.get(upload_id)
        if offset == 0 and (upload is None or not upload.lasting or upload.offset):
            self._drop(upload_id)
            with blobs.told(self._folder):
                upload = self._streams[upload_id] = _Stream(self._path(upload_id), owner)
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

    def _put_aside(self, upload_id: str) -> None:
        """Its file stays, whole up to what its sender was told."""
        upload = self._streams.pop(upload_id, None)
        if upload is not None:
            upload.file.close()

    def abandon(self, owner: Any) -> None:
        super().abandon(owner)
        for upload_id, upload in [one for one in self._streams.items() if one[1].owner is owner]:
            if upload.lasting:
                self._put_aside(upload_id)
            else:
                self._drop(upload_id)

    def forget_unfinished(self, before: float) -> None:
        idle = {one.digest for one in self.unfinished(before)}
        for upload_id in [key for key, upload in self._streams.items() if upload.path.name in idle]:
            self._drop(upload_id)
        for name in idle:
            if name.startswith(_STREAM):
                (self._incoming / name).unlink(missing_ok=True)
        super().forget_unfinished(before)


def _boot() -> str:
    """This start of the machine; of the server, where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ids.new("up")
