"""Blobs as files: ``ab/abcdef…``. An upload is a temporary file until its digest is right; then it is renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from windlass import exception
from windlass.wire import payload

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


_PROMISE = 600.0
"""Seconds for which a blob stays that somebody was told of: who hears that it is here does not send it."""


class Stored(NamedTuple):
    """``at``: when it came, or when somebody was last told that it is here."""

    digest: str
    size: int
    at: float


class _Upload:
    __slots__ = ("digest", "file", "hash", "offset", "owner", "path")

    def __init__(self, path: Path, digest: str, owner: Any) -> None:
        self.path = path
        self.file = path.open("wb")
        self.hash = hashlib.sha256()
        self.offset = 0
        self.digest = digest
        self.owner = owner


class Blobs:
    """The store below ``folder``. ``synchronous``: a blob is on the disk before it is acknowledged."""

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        self._folder = folder
        self._synchronous = synchronous
        self._uploads: dict[str, _Upload] = {}
        self._promised: dict[str, float] = {}
        self._bytes: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._incoming = folder / "incoming"
        self._incoming.mkdir(exist_ok=True)
        for left in self._incoming.iterdir():
            left.unlink()

    def path(self, digest: str) -> Path:
        if not _DIGEST.match(digest):
            raise exception.InvalidError(f"not a digest: {digest[:80]!r}")
        name = digest[7:]
        return self._folder / name[:2] / name

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that are not here. The others begin their time anew: whoever asks is about to refer to them."""
        lacking = []
        for digest in digests:
            try:
                os.utime(self.path(digest))
                self._promised[digest] = time.monotonic()
            except FileNotFoundError:
                lacking.append(digest)
        return lacking

    def size(self, digest: str) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise exception.NotFoundError(f"no blob {digest}") from None

    def put(self, upload_id: str, digest: str, offset: int, chunk: bytes, *, last: bool, owner: Any) -> None:
        """Take one chunk of an upload. Chunks come in order; a repeated first chunk begins anew."""
        target = self.path(digest)
        if not self.missing([digest]):
            self._forget(upload_id)
            return
        try:
            upload = self._at(upload_id, digest, offset, owner)
            if upload.offset + len(chunk) > payload.MAX_SIZE:
                raise exception.RequestSizeError(f"a blob may have at most {payload.MAX_SIZE:,} bytes")
            upload.file.write(chunk)
            upload.hash.update(chunk)
            upload.offset += len(chunk)
            if last:
                self._publish(upload_id, upload, target)
        except OSError as exc:
            self._forget(upload_id)
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise exception.ResourceExhaustedError(
                    f"the disk of the server is full: {self._folder}", hint="Free space on that disk and try again."
                ) from exc
            raise exception.InternalError(f"cannot store a blob: {exc}") from exc
        except BaseException:
            self._forget(upload_id)
            raise

    def _at(self, upload_id: str, digest: str, offset: int, owner: Any) -> _Upload:
        if offset == 0:
            self._forget(upload_id)
            name = hashlib.sha256(os.fsencode(upload_id)).hexdigest()
            self._uploads[upload_id] = _Upload(self._incoming / name, digest, owner)
        upload = self._uploads.get(upload_id)
        if upload is None or upload.offset != offset or upload.digest != digest or upload.owner is not owner:
            raise exception.ConflictError(
                f"upload {upload_id} of {digest} does not continue at byte {offset:,}", hint="Begin it again at byte 0."
            )
        return upload

    def _publish(self, upload_id: str, upload: _Upload, target: Path) -> None:
        found = "sha256:" + upload.hash.hexdigest()
        if found != upload.digest:
            raise exception.DataLossError(f"an upload announced as {upload.digest} is {found}")
        upload.file.flush()
        if self._synchronous:
            os.fsync(upload.file.fileno())
        upload.file.close()
        target.parent.mkdir(exist_ok=True)
        upload.path.replace(target)
        self._count(upload.offset)
        del self._uploads[upload_id]

    def _forget(self, upload_id: str) -> None:
        upload = self._uploads.pop(upload_id, None)
        if upload is not None:
            upload.file.close()
            upload.path.unlink(missing_ok=True)

    def abandon(self, owner: Any) -> None:
        """Forget the unfinished uploads of a connection that is gone."""
        for upload_id in [key for key, upload in self._uploads.items() if upload.owner is owner]:
            self._forget(upload_id)

    def delete(self, digest: str) -> None:
        """Forget a blob that nothing refers to any more. One that somebody was just told of is swept later."""
        now = time.monotonic()
        if now - self._promised.get(digest, -_PROMISE) >= _PROMISE:
            self._remove(self.path(digest))
        if len(self._promised) > 10_000:
            self._promised = {one: at for one, at in self._promised.items() if now - at < _PROMISE}

    def total(self) -> int:
        """Of all blobs that are whole: counted once, when somebody asks, and then with each that comes and goes."""
        if self._bytes is None:
            self._bytes = sum(one.size for one in self.stored())
        return self._bytes

    def _count(self, size: int) -> None:
        if self._bytes is not None:
            self._bytes += size

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            self._count(-size)

    def stored(self) -> Iterator[Stored]:
        """All blobs that are whole. May run in a thread."""
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            for entry in os.scandir(folder):
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield Stored(f"sha256:{entry.name}", state.st_size, state.st_mtime)

    def sweep(self, digest: str, before: float) -> bool:
        """Forget a blob that nothing refers to, unless it came, or somebody was told of it, after ``before``."""
        path = self.path(digest)
        try:
            if path.stat().st_mtime >= before:
                return False
        except FileNotFoundError:
            return False
        self._remove(path)
        self._promised.pop(digest, None)
        return True

    def unfinished(self, before: float) -> list[Stored]:
        """Uploads on their way of which nothing came since ``before``; they have no digest yet."""
        found = [(path, path.stat()) for path in self._incoming.iterdir()]
        return [Stored(path.name, state.st_size, state.st_mtime) for path, state in found if state.st_mtime < before]

    def forget_unfinished(self, before: float) -> None:
        """Their senders are told that they must begin anew, should they go on after all."""
        idle = {one.digest for one in self.unfinished(before)}
        for upload_id in [key for key, upload in self._uploads.items() if upload.path.name in idle]:
            self._forget(upload_id)

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset``; empty at the end."""
        try:
            with self.path(digest).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except FileNotFoundError:
            raise exception.NotFoundError(f"no blob {digest}") from None
