"""Blobs: bytes by digest. An upload is a temporary file until its digest is right; then it is kept as an object.

    blobs/ab/abcdef…      the object where the store is this disk, else a copy of it for programs of this machine
    blobs/kept/abcdef…    where the store is elsewhere: it has this one; the text is its size
    blobs/incoming/       uploads, and copies on their way here

Whether there is a blob, and since when, must be known at once; so it is told by local files alone: by the object, or by
the mark in ``kept``, which is made after the object and removed before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import re
import time
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from windlass import exception
from windlass.server.objects import contract
from windlass.server.objects import gate as gates
from windlass.wire import payload

_log = logging.getLogger(__name__)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_PROMISE = 600.0
"""Seconds for which a blob stays that somebody was told of: who hears that it is here does not send it."""
_READ = 3600.0
"""Seconds for which a copy stays that somebody reads."""


class Spawn(Protocol):
    """Starts work beside (``kit.tasks.Tasks.start``)."""

    def __call__(self, work: Coroutine[Any, Any, Any], name: str, /) -> asyncio.Task[Any]: ...


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
    """Blobs in ``store``, with what this machine has of them below ``folder``. Whoever deletes one passes ``gate``."""

    def __init__(self, folder: Path, store: contract.Store, spawn: Spawn, gate: gates.Gate | None = None) -> None:
        self._gate = gate
        self._folder = folder
        self._store = store
        self._spawn = spawn
        self._uploads: dict[str, _Upload] = {}
        self._promised: dict[str, float] = {}
        self._spared: set[str] = set()
        self._damaged: set[str] = set()
        """Blobs that are something else than their digest says, until somebody sends them again."""
        self._total: int | None = None
        self._bringing: dict[str, asyncio.Lock] = {}
        self._removing: dict[str, asyncio.Task[Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._incoming = folder / "incoming"
        self._incoming.mkdir(exist_ok=True)
        for left in self._left():
            left.unlink()
        self._kept = folder / "kept"
        self.is_elsewhere = store.place("") is None
        if self.is_elsewhere:
            self._kept.mkdir(exist_ok=True)

    def _left(self) -> list[Path]:
        """What nobody will go on with after the server has started anew."""
        return list(self._incoming.iterdir())

    # -- what there is ---------------------------------------------------------------------------------------

    def path(self, digest: str) -> Path:
        """Where the bytes lie for programs of this machine, if they are here."""
        name = _hex(digest)
        return self._store.place(_name(name)) or self._folder / _name(name)

    def _sign(self, digest: str) -> Path:
        """The file that says that the store has it, and since when."""
        return self._kept / _hex(digest) if self.is_elsewhere else self.path(digest)

    def has(self, digest: str) -> bool:
        return self._sign(digest).exists()

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that are not here. The others begin their time anew: whoever asks is about to refer to them."""
        lacking = []
        for digest in digests:
            try:
                if digest in self._damaged:
                    raise FileNotFoundError
                os.utime(self._sign(digest))
                self._promised[digest] = time.monotonic()
            except FileNotFoundError:
                lacking.append(digest)
        return lacking

    def size(self, digest: str) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            pass
        try:
            return int(self._sign(digest).read_text()) if self.is_elsewhere else _none(digest)
        except (FileNotFoundError, ValueError):
            return _none(digest)

    def stored(self) -> Iterator[Stored]:
        """All blobs that are whole. May run in a thread."""
        folders = [self._kept] if self.is_elsewhere else sorted(self._folder.glob("[0-9a-f][0-9a-f]"))
        for folder in folders:
            for entry in os.scandir(folder):
                with contextlib.suppress(FileNotFoundError, ValueError):
                    state = entry.stat(follow_symlinks=False)
                    size = int(Path(entry.path).read_text()) if self.is_elsewhere else state.st_size
                    yield Stored(f"sha256:{entry.name}", size, state.st_mtime)

    def total(self) -> int:
        """Bytes of all blobs that are whole: counted when somebody asks, then with each that comes and goes."""
        if self._total is None:
            self._total = sum(one.size for one in self.stored())
        return self._total

    def _count(self, size: int) -> None:
        if self._total is not None:
            self._total += size

    # -- uploads ---------------------------------------------------------------------------------------------

    def put(
        self, upload_id: str, digest: str, offset: int, chunk: bytes, *, last: bool, owner: Any
    ) -> Coroutine[Any, Any, None] | None:
        """Take one chunk of an upload. Chunks come in order; a repeated first chunk begins anew. With the last one
        it is stored, or something is returned that must be awaited first."""
        if not self.missing([digest]):
            self._forget(upload_id)
            return None
        try:
            with told(self._folder):
                upload = self._at(upload_id, digest, offset, owner)
                if upload.offset + len(chunk) > payload.MAX_SIZE:
                    raise exception.RequestSizeError(f"a blob may have at most {payload.MAX_SIZE:,} bytes")
                upload.file.write(chunk)
                upload.hash.update(chunk)
                upload.offset += len(chunk)
                if last:
                    self._close(upload)
        except BaseException:
            self._forget(upload_id)
            raise
        if not last:
            return None
        del self._uploads[upload_id]
        keeping = self._keep(digest, upload.path, upload.offset)
        if self.is_elsewhere:
            return keeping
        _at_once(keeping)
        return None

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

    def _close(self, upload: _Upload) -> None:
        found = "sha256:" + upload.hash.hexdigest()
        if found != upload.digest:
            raise exception.DataLossError(f"an upload announced as {upload.digest} is {found}")
        upload.file.close()

    async def _keep(self, digest: str, draft: Path, size: int) -> None:
        """Give a whole file to the store; what is here of it afterwards is a copy, or the object."""
        name = _hex(digest)
        try:
            if (removal := self._removing.get(digest)) is not None:
                await asyncio.wait({removal})
            is_new = not self.has(digest)
            await self._store.keep(_name(name), draft)
            if self.is_elsewhere:
                is_new = not self.has(digest)  # others may have sent the same meanwhile
                with told(self._folder):
                    path = self._folder / _name(name)
                    path.parent.mkdir(exist_ok=True)
                    draft.replace(path)
                    self._mark(name, size)
            self._damaged.discard(digest)
            self._count(size if is_new else 0)
        finally:
            draft.unlink(missing_ok=True)

    def _mark(self, name: str, size: int) -> None:
        draft = self._incoming / f"mark-{name}"
        draft.write_text(str(size))
        draft.replace(self._kept / name)

    def _forget(self, upload_id: str) -> None:
        upload = self._uploads.pop(upload_id, None)
        if upload is not None:
            upload.file.close()
            upload.path.unlink(missing_ok=True)

    def abandon(self, owner: Any) -> None:
        """Forget the unfinished uploads of a connection that is gone."""
        for upload_id in [key for key, upload in self._uploads.items() if upload.owner is owner]:
            self._forget(upload_id)

    def unfinished(self, before: float) -> list[Stored]:
        """Uploads on their way of which nothing came since ``before``; they have no digest yet."""
        found = _states(self._incoming.iterdir())
        return [Stored(path.name, state.st_size, state.st_mtime) for path, state in found if state.st_mtime < before]

    def forget_unfinished(self, before: float) -> None:
        """Their senders are told that they must begin anew, should they go on after all."""
        idle = {one.digest for one in self.unfinished(before)}
        for upload_id in [key for key, upload in self._uploads.items() if upload.path.name in idle]:
            self._forget(upload_id)

    # -- reading ---------------------------------------------------------------------------------------------

    def is_here(self, digest: str) -> bool:
        """Whether the bytes lie on this machine. If so, they do for some time."""
        try:
            path = self.path(digest)
            if self.is_elsewhere:
                os.utime(path)
            return path.exists()
        except FileNotFoundError:
            return False

    async def bring(self, digest: str) -> None:
        """See that the bytes lie on this machine.

        Raises:
            NotFoundError: there is no such blob.
            DataLossError: what the store has is something else.
        """
        if self.is_here(digest):
            return
        self.size(digest)
        lock = self._bringing.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                if not self.is_here(digest):
                    await self._bring(digest)
        finally:
            if not lock.locked():
                self._bringing.pop(digest, None)

    async def _bring(self, digest: str) -> None:
        draft, path = self._incoming / f"copy-{_hex(digest)}", self.path(digest)
        try:
            await self._store.bring(_name(_hex(digest)), draft)
            found = await asyncio.to_thread(_digest, draft)
            if found != digest:
                raise exception.DataLossError(f"blob {digest} is stored as something else: {found}")
            path.parent.mkdir(exist_ok=True)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    async def verify(self, digest: str) -> None:
        """Compare what is here with the digest: somebody got something else. A copy that is damaged is brought anew.

        Raises:
            DataLossError: the blob is damaged; it counts as missing, so that whoever has it sends it again.
        """
        path = self.path(digest)
        try:
            if await asyncio.to_thread(_digest, path) == digest:
                return
        except FileNotFoundError:
            return
        _log.error("blob %s is damaged", digest)
        try:
            if not self.is_elsewhere:
                raise payload.damaged(digest)
            path.unlink(missing_ok=True)
            await self.bring(digest)
        except exception.DataLossError:
            self._damaged.add(digest)
            raise

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset``; empty at the end. The blob must be here (``bring``)."""
        try:
            with self.path(digest).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except FileNotFoundError:
            raise exception.NotFoundError(f"no blob {digest}") from None

    # -- the end ---------------------------------------------------------------------------------------------

    def delete(self, digest: str) -> None:
        """Forget a blob that nothing refers to any more. One that somebody was just told of, or that a backup may be
        reading, is ``spared``."""
        now = time.monotonic()
        if now - self._promised.get(digest, -_PROMISE) < _PROMISE or not self._remove(digest):
            self._spared.add(digest)
        if len(self._promised) > 10_000:
            self._promised = {one: at for one, at in self._promised.items() if now - at < _PROMISE}

    def spared(self) -> list[str]:
        """Blobs that were not deleted because somebody had been told of them, which is long ago now."""
        now = time.monotonic()
        found = [one for one in self._spared if now - self._promised.get(one, -_PROMISE) >= _PROMISE]
        self._spared.difference_update(found)
        return found

    def sweep(self, digest: str, before: float) -> bool:
        """Forget a blob that nothing refers to, unless it came, or somebody was told of it, after ``before``."""
        try:
            if self._sign(digest).stat().st_mtime >= before:
                return False
        except FileNotFoundError:
            return False
        if not self._remove(digest):
            return False
        self._promised.pop(digest, None)
        return True

    def _remove(self, digest: str) -> bool:
        """False while a backup is being made."""
        with self._gate.passing() if self._gate is not None else contextlib.nullcontext(True) as may:
            if may and self.has(digest):
                self._damaged.discard(digest)
                self._count(-self.size(digest))
                self._sign(digest).unlink()
                self.path(digest).unlink(missing_ok=True)
                if self.is_elsewhere:
                    self._start_removal(digest)
            return may

    def _start_removal(self, digest: str) -> asyncio.Task[Any]:
        """Whoever sends the blob again meanwhile waits for the end of this."""
        task = self._removing[digest] = self._spawn(self._removed(digest), f"removal of {digest}")
        task.add_done_callback(lambda _: self._removing.pop(digest, None))
        return task

    async def _removed(self, digest: str) -> None:
        try:
            await self._store.remove(_name(_hex(digest)))
        except exception.Error as exc:  # ``strays`` finds it later
            _log.warning("blob %s is not removed yet: %s", digest, exc)

    async def strays(self, before: float) -> list[contract.Object]:
        """Objects that the store has and nobody here knows of: the server was killed between two steps."""
        going = set(self._removing)  # they may be listed, and be gone before we look
        found = [one async for one in self._store.listed() if one.at < before] if self.is_elsewhere else []
        return [one for one in found if self._is_stray(one) and _of_name(one.name) not in going]

    def _is_stray(self, one: contract.Object) -> bool:
        digest = _of_name(one.name)
        return bool(digest) and not self.has(digest) and digest not in self._removing

    async def remove_stray(self, one: contract.Object) -> None:
        if self._is_stray(one):
            await asyncio.wait({self._start_removal(_of_name(one.name))})

    async def adopt(self) -> None:
        """Give the store what was kept on this disk before there was another place."""
        for path in sorted(self._folder.glob("[0-9a-f][0-9a-f]/*")) if self.is_elsewhere else ():
            if not (self._kept / path.name).exists():
                await self._store.keep(_name(path.name), path)
                self._mark(path.name, path.stat().st_size)

    def evict(self, budget: int) -> None:
        """Remove copies that nobody read for long, until the others take at most ``budget`` bytes."""
        copies = [*_states(self._folder.glob("[0-9a-f][0-9a-f]/*"))] if self.is_elsewhere else []
        left = sum(state.st_size for _, state in copies)
        for path, state in sorted(copies, key=lambda one: one[1].st_mtime):
            if left <= budget or state.st_mtime > time.time() - _READ:
                return
            if (self._kept / path.name).exists():
                path.unlink(missing_ok=True)
                left -= state.st_size


def _states(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Of those that are still there: threads store files, and the loop removes some, while others look."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            yield path, path.stat()


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """What goes wrong with files of an upload, in words for whoever sends it."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise exception.ResourceExhaustedError(
                f"the disk of the server is full: {folder}", hint="Free space on that disk and try again."
            ) from exc
        raise exception.InternalError(f"cannot store a blob: {exc}") from exc


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run what never waits, as a place on this disk does not: without a task of its own."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("a place on this disk waits for something")


def _hex(digest: str) -> str:
    if not _DIGEST.match(digest):
        raise exception.InvalidError(f"not a digest: {digest[:80]!r}")
    return digest[7:]


def _name(name: str) -> str:
    return f"{name[:2]}/{name}"


def _of_name(name: str) -> str:
    """The digest; "" for the name of something that is not ours."""
    digest = "sha256:" + name.rpartition("/")[2]
    return digest if _DIGEST.match(digest) and _name(digest[7:]) == name else ""


def _none(digest: str) -> int:
    raise exception.NotFoundError(f"no blob {digest}")


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1024 * 1024):
            state.update(piece)
    return "sha256:" + state.hexdigest()
