"""Files on their way into volumes and network file systems, and out of them.

Small files travel many at once in packs, large ones alone. What the platform has already is not sent again, so an
upload that broke off goes on where it was; but a very large file is sent without hashing it first, which would take
longer than to send it. Only when everything is there one edit puts all in place.
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from windlass import exception
from windlass.client import globs, here, session
from windlass.client import object as handles
from windlass.kit import ids, tasks
from windlass.wire import payload
from windlass.wire.messages import blobs, nfs
from windlass.wire.messages import volumes as messages

_SMALL = 256 * 1024  # bytes of files that travel in packs
_PACK = 8 * 1024 * 1024
_STREAMED = 64 * 1024 * 1024  # bytes above which a file is sent without looking whether the platform has it
_FILE_TIMEOUT = 3600.0
_WINDOW = 4  # pieces of one file on their way
_AT_ONCE = 4  # uploads at the same time
_QUERY = 5000
_ATTEMPTS = 3
_BEAT = 60.0
_STEPS = 100_000  # files in one edit, as far as a message can hold them
_LOST = (exception.InvalidError, exception.NotFoundError, exception.DataLossError)

Entry = tuple[str, str, int, int]
Progress = Callable[[str, int, int], None]
"""Called with the name of a file, bytes that are done, and all of them."""


def method(identity: str, verb: str) -> str:
    """The server's method for what the id is of: both kinds answer alike."""
    return f"{'nfs' if identity.startswith('sv-') else 'volume'}.{verb}"


def inside(path: str | os.PathLike[str]) -> str:
    """A path in a volume, without what it may begin and end with. Raises ``InvalidError`` for one that leads out."""
    text = os.fspath(path)
    if not isinstance(text, str) or "\0" in text:
        raise exception.InvalidError(f"{path!r} is no path")
    parts = PurePosixPath(text).parts
    if ".." in parts:
        raise exception.InvalidError(f"the path {text!r} leads out", hint="Leave out '..'.")
    return "/".join(part for part in parts if part != "/")


def check_once(mounted: Mapping[str, Any]) -> None:
    """Raise ``InvalidError`` where one object shall be mounted at two paths."""
    places: dict[object, str] = {}
    for path, one in mounted.items():
        base = getattr(one, "_base", None) or one
        for identity in {id(base), base._object_id or id(base)}:
            if identity in places:
                raise exception.InvalidError(
                    f"{one._describe()} cannot be mounted twice in one container, at {places[identity]!r} and {path!r}"
                )
            places[identity] = path


def mounts(mounted: Mapping[str, Any]) -> list[messages.VolumeMount]:
    """What the server is told of volumes that have their ids, by the paths that they are mounted at."""
    check_once(mounted)
    return [
        {"path": path, "volume_id": one.object_id, "read_only": bool(one._read_only), "sub_path": one._sub_path or ""}
        for path, one in mounted.items()
    ]


def check_apart(shared: Mapping[str, Any], mounted: Mapping[str, Any]) -> None:
    """Raise ``InvalidError`` where a network file system shall be mounted where a volume is. Places inside each other
    the server refuses, which knows all of a function."""
    for path in shared:
        if path in mounted:
            raise exception.InvalidError(
                f"a volume and a network file system cannot both be mounted at {path!r}",
                hint="Give each a folder of its own.",
            )


def shares(shared: Mapping[str, Any]) -> list[nfs.NfsMount]:
    """What the server is told of network file systems, like ``mounts``."""
    check_once(shared)
    return [{"path": path, "nfs_id": one.object_id} for path, one in shared.items()]


# -- out of volumes --------------------------------------------------------------------------------------------


async def entries(volume_id: str, path: str, *, recursive: bool, at: int | None = None) -> AsyncGenerator[Entry, None]:
    """Path, kind, time and size of what lies at ``path``. Raises ``FileNotFoundError``."""
    if path.endswith("*"):
        raise exception.InvalidError(
            f"the path {path!r} ends in a wildcard, which is not supported", hint="Use recursive=True for all below."
        )
    body: messages.VolumeRead = {"volume_id": volume_id, "recursive": recursive}
    if at is not None:
        body["at"] = at
    with _translated(path):
        async for reply in session.current().stream(method(volume_id, "entries"), body, [os.fsencode(inside(path))]):
            batch: messages.VolumeEntries = reply.body
            listed = zip(reply.attachments, batch["kinds"], batch["mtimes"], batch["sizes"], strict=True)
            for raw, kind, mtime, size in listed:
                yield os.fsdecode(raw), kind, mtime, size


async def matching(identity: str, path: str) -> AsyncGenerator[Entry, None]:
    """What lies in a folder, or is at a path, or is matched by a glob. Raises ``FileNotFoundError``."""
    clean = inside(path)
    if not globs.is_glob(clean):
        async for entry in entries(identity, path, recursive=False):
            yield entry
        return
    wanted = globs.search(clean)
    async for entry in entries(identity, wanted.folder, recursive=wanted.recursive):
        if wanted.matches(entry[0]):
            yield entry


async def pieces(
    volume_id: str, path: str, *, at: int | None = None, offset: int = 0, told: Callable[[int], None] | None = None
) -> AsyncGenerator[bytes, None]:
    """The bytes of a file; goes on where it was when the connection is lost. ``told``: is called with its size."""
    patience = session.Patience()
    while True:
        body: messages.VolumeRead = {"volume_id": volume_id, "offset": offset}
        if at is not None:
            body["at"] = at
        try:
            with _translated(path):
                asked = session.current().stream(method(volume_id, "fetch"), body, [os.fsencode(inside(path))])
                async for reply in asked:
                    data = reply.attachments[0]
                    if told is not None:
                        told(reply.body["size"])
                        told = None
                    offset += len(data)
                    if data:
                        yield data
            return
        except exception.ServiceError as exc:
            await patience.wait(exc)


async def download(
    volume_id: str, path: str, file: BinaryIO, progress: Callable[..., Any] | None, *, at: int | None = None
) -> int:
    """Write a file's bytes to ``file``; how many there were."""
    told = None if progress is None else (lambda size: progress(reset=True, total=size))
    done = 0
    async for piece in pieces(volume_id, path, at=at, told=told):
        await asyncio.to_thread(file.write, piece)
        done += len(piece)
        if progress is not None:
            progress(advance=len(piece))
    return done


@contextlib.contextmanager
def _translated(path: str) -> Any:
    """The errors of the standard library for what is missing, or in the way."""
    try:
        yield
    except exception.NotFoundError as exc:
        if str(exc).startswith(("volume ", "network file system ")):
            raise
        raise FileNotFoundError(str(exc)) from None
    except exception.AlreadyExistsError as exc:
        raise FileExistsError(str(exc)) from None


# -- into volumes ----------------------------------------------------------------------------------------------


async def edit(volume_id: str, steps: list[messages.EditStep], edit_id: str = "") -> None:
    """All of the steps, or none. Raises ``FileNotFoundError`` and ``FileExistsError``."""
    body: messages.VolumeEdit = {"volume_id": volume_id, "edit_id": edit_id or ids.new("ed")}
    text = json.dumps(steps, separators=(",", ":")).encode()
    with _translated(""):
        await session.current().request(method(volume_id, "edit"), body, [text])


class _File(NamedTuple):
    remote: str
    source: Path | BinaryIO
    mode: int | None


class Upload:
    """What a block of ``Volume.batch_upload`` collects."""

    def __init__(self, force: bool, progress: Progress | None = None) -> None:
        self._force = force
        self._progress = progress
        self._files: list[_File] = []
        self._folders: list[tuple[Path, str, bool]] = []

    def put_file(
        self,
        local_file: str | os.PathLike[str] | BinaryIO,
        remote_path: str | os.PathLike[str],
        mode: int | None = None,
    ) -> None:
        """Upload one file.

        Args:
            local_file: its path, or a file object open for reading bytes.
            remote_path: what it shall be called in the volume.
            mode: its permissions; by default, those of the local file.

        Raises:
            ValueError: ``remote_path`` names a folder: it ends with a slash.
        """
        remote = os.fspath(remote_path)
        if remote.endswith("/"):
            raise ValueError(f"remote_path {remote!r} must be the name of a file: it ends with a slash")
        source: Path | BinaryIO
        if isinstance(local_file, (str, os.PathLike)):
            source = Path(local_file)
        elif hasattr(local_file, "read"):
            source = local_file
        else:
            raise exception.InvalidError(f"put_file() takes a path or a file object, not {type(local_file).__name__}")
        name = inside(remote)
        if not name:
            raise ValueError("remote_path must be the name of a file, not the volume's root")
        self._files.append(_File(name, source, mode))

    def put_directory(
        self, local_path: str | os.PathLike[str], remote_path: str | os.PathLike[str], recursive: bool = True
    ) -> None:
        """Upload the files in a folder.

        Args:
            local_path: the folder.
            remote_path: the folder of the volume that they shall lie in; made if it is not there.
            recursive: also what lies in folders below.
        """
        self._folders.append((Path(local_path), inside(remote_path), recursive))

    async def send(self, volume_id: str) -> int:
        """Upload everything and put it in place; how many bytes there were."""
        files = await asyncio.to_thread(self._listed)
        if method(volume_id, "") == "volume.":  # what can never fit is not sent at all
            question: messages.VolumeRoom = {"volume_id": volume_id, "size": await asyncio.to_thread(_total, files)}
            await session.current().request("volume.room", question)
        sent = 0
        for start in range(0, len(files), _STEPS):
            sent += await self._send(volume_id, files[start : start + _STEPS])
        return sent

    def _listed(self) -> list[_File]:
        files = list(self._files)
        for local, remote, recursive in self._folders:
            if not local.exists():
                raise FileNotFoundError(f"local folder {str(local)!r} does not exist")
            if not local.is_dir():
                raise NotADirectoryError(f"{str(local)!r} is no folder; use put_file")
            head = f"{remote}/" if remote else ""
            files += [_File(f"{head}{name}", path, None) for name, path in _walk(local, recursive)]
        return files

    async def _send(self, volume_id: str, files: list[_File]) -> int:
        edit_id = ids.new("ed")
        for attempt in range(_ATTEMPTS):
            steps = await _Sending(files, self._force, self._progress).run()
            try:
                if steps:
                    await edit(volume_id, steps, edit_id)
                return sum(step["size"] for step in steps)
            except (FileNotFoundError, exception.DataLossError):
                if attempt == _ATTEMPTS - 1:  # uploads may be gone: they are made again
                    raise
        raise AssertionError("unreachable")


def _total(files: list[_File]) -> int:
    """Bytes of those that are local files."""
    sizes = 0
    for file in files:
        with contextlib.suppress(OSError):  # who opens it later says why
            sizes += file.source.stat().st_size if isinstance(file.source, Path) else 0
    return sizes


def _walk(folder: Path, recursive: bool) -> list[tuple[str, Path]]:
    """Path below the folder and local path of each file; links are followed, special files left out."""
    found: list[tuple[str, Path]] = []
    waiting: list[tuple[str, Path, frozenset[str]]] = [("", folder, frozenset())]
    while waiting:
        inside_path, here, above = waiting.pop()
        real = os.path.realpath(here)
        if real in above:
            continue  # a link back to one of its own parents
        with os.scandir(here) as listed:
            for entry in sorted(listed, key=lambda one: one.name):
                name = f"{inside_path}/{entry.name}" if inside_path else entry.name
                if entry.is_dir():
                    if recursive:
                        waiting.append((name, Path(entry.path), above | {real}))
                elif entry.is_file():
                    found.append((name, Path(entry.path)))
    return found


class _Sending:
    """One batch on its way."""

    def __init__(self, files: list[_File], force: bool, progress: Progress | None) -> None:
        self._files = files
        self._force = force
        self._progress = progress
        self._steps: list[messages.EditStep] = []
        self._pack = bytearray()
        self._packed: list[messages.EditStep] = []
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._running: list[asyncio.Task[None]] = []

    async def run(self) -> list[messages.EditStep]:
        async with tasks.Tasks(lambda name, exc: None) as owner:
            for chunk in range(0, len(self._files), 500):
                packs, large = await asyncio.to_thread(self._read, self._files[chunk : chunk + 500])
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

    def _start(self, owner: tasks.Tasks, sending: Any) -> None:
        self._running.append(owner.start(sending, "upload"))

    def _read(self, files: list[_File]) -> tuple[list[bytes], list[tuple[_File, messages.EditStep]]]:
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

    async def _send_file(self, file: _File, step: messages.EditStep) -> None:
        async with self._gate:
            with _opened(file) as source:
                size = source.seek(0, os.SEEK_END)
                if size < _STREAMED:
                    digest, size = await asyncio.to_thread(_digest, source)
                    if await _lacks(digest):
                        await self._send_bytes(file, source, digest, size)
                else:
                    digest = await self._send_bytes(file, source, "", size)
            step["digest"] = step["blob"] = digest
            step["size"] = size
            self._steps.append(step)
            if self._progress is not None:
                self._progress(file.remote, size, size)

    async def _send_bytes(self, file: _File, source: BinaryIO, digest: str, size: int) -> str:
        """Upload a file; its digest, which the platform finds out where it was not told."""

        def told(at: int) -> None:
            if self._progress is not None:
                self._progress(file.remote, at, size)

        def read(at: int) -> bytes:
            if at == 0:
                source.seek(0)
            told(at)
            return source.read(payload.CHUNK)

        async def carried() -> str:
            is_beside = session.current().is_beside and here.plan is None
            is_beside = is_beside and not digest and isinstance(file.source, Path)
            found = await _copied(source.fileno(), size, told) if is_beside else ""
            return found or await _put(digest, read, size)

        try:
            return await asyncio.wait_for(_again(carried), _FILE_TIMEOUT)
        except asyncio.TimeoutError:
            raise exception.VolumeUploadTimeoutError(
                f"uploading {file.remote!r} took more than {_FILE_TIMEOUT / 60:.0f} minutes"
            ) from None
        except _LOST as exc:
            if digest and (await asyncio.to_thread(_digest, source))[0] != digest:
                raise exception.ExecutionError(
                    f"{file.remote!r} changed while it was uploaded", hint="Try again when it is no longer written to."
                ) from exc
            raise


@contextlib.contextmanager
def _opened(file: _File) -> Any:
    """Its bytes from the beginning; what cannot go back to its beginning is copied first."""
    if isinstance(file.source, Path):
        if file.source.is_dir():
            raise IsADirectoryError(f"{str(file.source)!r} is a folder; use put_directory")
        with file.source.open("rb") as opened:
            yield opened
        return
    seekable = getattr(file.source, "seekable", bool)()
    if seekable:
        file.source.seek(0)
        yield file.source
        return
    with tempfile.SpooledTemporaryFile(_PACK) as copy:
        while piece := file.source.read(payload.CHUNK):
            copy.write(piece)
        copy.seek(0)
        yield copy


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
    return bool((await session.current().request("volume.missing", query)).body["missing"])


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
    which = messages.identity(os.fstat(descriptor))
    body: messages.VolumeCopy = {"descriptor": descriptor, "identity": which, "size": size}
    done, digest = 0, ""
    try:
        async for reply in session.current().stream("volume.copy", body):
            done, digest = reply.body["done"], reply.body["digest"]
            told(done)
    except (exception.NotFoundError, exception.ServiceError):
        return ""
    if done != size:
        raise exception.ExecutionError("a file changed while it was uploaded", hint="Try again.")
    return digest


async def _put(digest: str, read: Callable[[int], Any], size: int) -> str:
    """Send the pieces in order, some of them before the first is answered; the digest of all."""
    upload_id, home = ids.new("up"), session.current()
    async with tasks.Tasks(lambda name, exc: None) as owner:
        sent: list[asyncio.Task[Any]] = []
        for offset in range(0, max(size, 1), payload.CHUNK):
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


@contextlib.asynccontextmanager
async def upload(volume: Any, force: bool) -> AsyncIterator[Upload]:
    """Collect in the block, send on leaving it; nothing where it fails."""
    volume_id = await volume._ready()
    batch = Upload(force)
    yield batch
    await batch.send(volume_id)


@contextlib.asynccontextmanager
async def ephemeral(cls: type[handles.Object], query: Any) -> AsyncIterator[Any]:
    """A volume, or a network file system, that lives as long as the block."""
    home = session.current()
    found: Any = (await home.request(method(f"{cls._prefix}-", "get"), query)).body
    volume: Any = cls._new()
    volume._object_id, volume._lazy = found["volume_id"], True
    volume._query = {"volume_id": found["volume_id"]}
    reference: messages.VolumeRef = {"volume_id": found["volume_id"]}
    try:
        async with tasks.Tasks(lambda name, exc: None) as owner:
            owner.start(_beats(home, reference), "beats of an ephemeral object")
            yield volume
    finally:
        with contextlib.suppress(exception.NotFoundError):
            await home.request(method(found["volume_id"], "delete"), reference)


async def _beats(home: session.Session, reference: messages.VolumeRef) -> None:
    while True:
        await asyncio.sleep(_BEAT)
        await home.request(method(reference["volume_id"], "beat"), reference)
