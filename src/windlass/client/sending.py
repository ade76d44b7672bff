"""Files on their way to the platform.

Small files travel many at once in packs, large ones alone. What the platform has already is not sent again, so an
upload that broke off goes on where it was; but a very large file is sent without hashing it first, which would take
longer than to send it. Only when everything is there one edit puts all in place.
"""
from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from windlass import exception
from windlass.client import here, stepping
from windlass.kit import digests, ids
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import blobs
    from windlass.wire.messages import volumes as messages

_SMALL = 256 * 1024  # bytes of files that travel in packs
_PACK = 8 * 1024 * 1024
_STREAMED = digests.LARGE  # bytes above which a file is sent without looking whether the platform has it
_FILE_TIMEOUT = 3600.0
_WINDOW = 4  # pieces of one file on their way
_AT_ONCE = 4  # uploads at the same time
_ATTEMPTS = 3
_LOST = (exception.InvalidError, exception.NotFoundError, exception.DataLossError)

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, bytes that are done, and all of them."""


class File(NamedTuple):
    """``source``: a path, or an open file that can go back to its beginning (``seekable``)."""

    remote: str
    source: Path | BinaryIO
    mode: int | None


class Sending:
    """One batch on its way."""

    def __init__(self, files: list[File], force: bool, progress: Progress | None) -> None:
        self._files = files
        self._force = force
        self._progress = progress
        self._steps: list[messages.EditStep] = []
        self._pack = bytearray()
        self._packed: list[messages.EditStep] = []
        self._gate = stepping.gate(_AT_ONCE)
        self._running: list[Awaitable[None]] = []

    async def run(self) -> list[messages.EditStep]:
        async with stepping.crew() as owner:
            for chunk in range(0, len(self._files), 500):
                packs, large = await stepping.aside(self._read, self._files[chunk : chunk + 500])
                for data in packs:
                    self._start(owner, self._send_pack(data))
                for file, step in large:
                    self._start(owner, self._send_file(file, step))
                while len(self._running) > 2 * _AT_ONCE:
                    await self._running.pop(0)
            if self._packed:
                self._start(owner, self._send_pack(self._close_pack()))
            for task in self._running:
                await task
        return self._steps

    def _start(self, owner: stepping.Crew, sending: Coroutine[Any, Any, None]) -> None:
        self._running.append(owner.start(sending, "upload"))

    def _read(self, files: list[File]) -> tuple[list[bytes], list[tuple[File, messages.EditStep]]]:
        """Packs that became full, and files that travel alone."""
        packs, large = [], []
        for file in files:
            with _opened(file) as source:
                state = _state(source)
                step: messages.EditStep = {"op": "put", "path": file.remote, "force": self._force, "offset": 0}
                if file.mode is not None or state is not None:
                    step["mode"] = file.mode if file.mode is not None else state.st_mode & 0o777  # type: ignore[union-attr]
                head = source.read(_SMALL + 1)
                if len(head) > _SMALL:
                    large.append((file, step))
                    continue
            step["digest"], step["size"] = _digest_of(head), len(head)
            if len(self._pack) + len(head) > _PACK:
                packs.append(self._close_pack())
            step["offset"] = len(self._pack)
            self._pack += head
            self._packed.append(step)
        return packs, large

    def _close_pack(self) -> bytes:
        data = bytes(self._pack)
        digest = _digest_of(data)
        for step in self._packed:
            # A pack that is one file only is that file, which may be moved into place.
            step["blob"] = digest
        self._steps += self._packed
        self._pack, self._packed = bytearray(), []
        return data

    async def _send_pack(self, data: bytes) -> None:
        async with self._gate:
            digest = _digest_of(data)
            if await _lacks(digest):
                view = memoryview(data)
                await _again(lambda: _put(digest, lambda at: view[at : at + payload.CHUNK], len(data)))

    async def _send_file(self, file: File, step: messages.EditStep) -> None:
        async with self._gate:
            with _opened(file) as source:
                size = source.seek(0, os.SEEK_END)
                if size < _STREAMED:
                    digest, size = await stepping.aside(_digest, source)
                    if await _lacks(digest):
                        await self._send_bytes(file, source, digest, size)
                else:
                    digest = await self._send_bytes(file, source, "", size)
            step["digest"] = step["blob"] = digest
            step["size"] = size
            self._steps.append(step)
            if self._progress is not None:
                self._progress(file.remote, size, size)

    async def _send_bytes(self, file: File, source: BinaryIO, digest: str, size: int) -> str:
        """Upload a file; its digest, which the platform finds out where it was not told."""

        def told(at: int) -> None:
            if self._progress is not None:
                self._progress(file.remote, at, size)

        def read(at: int) -> bytes:
            source.seek(at)
            told(at)
            return source.read(payload.CHUNK)

        name = "" if digest or not isinstance(file.source, Path) else _name(os.fstat(source.fileno()))

        async def carried() -> str:
            is_beside = stepping.current().is_beside and here.plan is None
            is_beside = is_beside and not digest and isinstance(file.source, Path)
            found = await _copied(source.fileno(), size, told) if is_beside else ""
            return found or await _put(digest, read, size, name)

        try:
            return await stepping.within(_FILE_TIMEOUT, _again(carried))
        except TimeoutError:
            raise exception.VolumeUploadTimeoutError(
                f"uploading {file.remote!r} took more than {_FILE_TIMEOUT / 60:.0f} minutes"
            ) from None
        except _LOST as exc:
            if digest and (await stepping.aside(_digest, source))[0] != digest:
                raise exception.ExecutionError(
                    f"{file.remote!r} changed while it was uploaded", hint="Try again when it is no longer written to."
                ) from exc
            raise


def seekable(file: File, copies: contextlib.ExitStack) -> File:
    """The file itself, or a copy of what can be read only once: its bytes are wanted more than once."""
    source = file.source
    if isinstance(source, Path) or getattr(source, "seekable", bool)():
        return file
    import tempfile

    copy: Any = copies.enter_context(tempfile.TemporaryFile())
    while piece := source.read(payload.CHUNK):
        copy.write(piece)
    return file._replace(source=copy, mode=0o644 if file.mode is None else file.mode)


@contextlib.contextmanager
def _opened(file: File) -> Any:
    """Its bytes from the beginning."""
    if not isinstance(file.source, Path):
        file.source.seek(0)
        yield file.source
        return
    mode = file.source.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{str(file.source)!r} is a folder; use put_directory")
    if not stat.S_ISREG(mode):  # to open a pipe may take for ever
        raise exception.InvalidError(
            f"{str(file.source)!r} is no plain file", hint="Upload what comes from a pipe by an open file object."
        )
    with file.source.open("rb") as opened:
        yield opened


def _state(source: BinaryIO) -> os.stat_result | None:
    try:
        return os.fstat(source.fileno())
    except (OSError, AttributeError, io.UnsupportedOperation):
        return None


def _digest_of(data: bytes | bytearray) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _digest(source: BinaryIO) -> tuple[str, int]:
    source.seek(0)
    state, size = hashlib.sha256(), 0
    while piece := source.read(payload.CHUNK):
        state.update(piece)
        size += len(piece)
    return "sha256:" + state.hexdigest(), size


async def _lacks(digest: str) -> bool:
    query: blobs.BlobQuery = {"digests": [digest]}
    return bool((await stepping.current().request("volume.missing", query)).body["missing"])


async def _again(send: Callable[[], Awaitable[str]]) -> str:
    """Upload, anew where the server lost the first pieces in a restart."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await send()
        except _LOST:
            continue
    return await send()


async def _copied(descriptor: int, size: int, told: Callable[[int], None]) -> str:
    """Let the server read an open file by itself; its digest, "" where the server cannot see the file."""
    from windlass.wire.messages import volumes

    which = volumes.identity(os.fstat(descriptor))
    body: messages.VolumeCopy = {"descriptor": descriptor, "identity": which, "size": size}
    done, digest = 0, ""
    try:
        async for reply in stepping.current().stream("volume.copy", body):
            done, digest = reply.body["done"], reply.body["digest"]
            told(done)
    except (exception.NotFoundError, exception.ServiceError):
        return ""
    if done != size:
        raise exception.ExecutionError("a file changed while it was uploaded", hint="Try again.")
    return digest


def _name(state: os.stat_result) -> str:
    """Of the upload of a file: the same for as long as it is that file and nobody has written to it."""
    here = socket.gethostname(), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
    return f"up-{hashlib.sha256(repr(here).encode()).hexdigest()}"


async def _begun(name: str, size: int) -> tuple[str, int]:
    """An upload, and the byte at which it goes on: one with this name may have broken off."""
    if name:
        body: messages.VolumeResume = {"upload_id": name, "size": size}
        try:
            return name, (await stepping.current().request("volume.resume", body)).body["offset"]
        except (exception.ConflictError, exception.UnimplementedError):  # sent by others now; an older platform
            pass
    return ids.new("up"), 0


async def _put(digest: str, read: Callable[[int], Any], size: int, name: str = "") -> str:
    """Send the pieces in order, some of them before the first is answered; the digest of all."""
    home = stepping.current()
    upload_id, begin = await _begun(name, size)
    async with stepping.crew() as owner:
        sent: list[Awaitable[Any]] = []
        for offset in range(begin, max(size, 1), payload.CHUNK):
            piece = read(offset)
            if len(piece) != min(payload.CHUNK, size - offset):
                raise exception.ExecutionError("a file changed while it was uploaded", hint="Try again.")
            last = offset + payload.CHUNK >= size
            body: blobs.BlobPut = {"upload_id": upload_id, "digest": digest, "offset": offset, "last": last}
            if len(sent) >= _WINDOW:
                await sent.pop(0)
            sent.append(owner.start(home.request("volume.upload", body, [piece]), "piece of an upload"))
        found = ""
        for task in sent:
            found = (await task).body["digest"]
        return found
