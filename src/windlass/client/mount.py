"""Local files on their way into containers: collected, hashed, and uploaded where the server lacks them.

A ``Mount`` says *which* files go *where*; nothing is read before ``upload``. The result is the digest of a manifest
(``wire.messages.images.MountManifest``), which is the mount's identity: the same files give the same mount.
"""
from __future__ import annotations

import os

from windlass import exception
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path
    from typing import Any, Protocol

    from windlass.wire.messages import blobs, images

    class Requests(Protocol):
        """Whoever can ask the server (``client.session``)."""

        async def request(self, method: str, body: Any, attachments: Any = (), /) -> Any:
            """Ask and return an object with the ``body`` of the answer."""

_FILE_TIMEOUT = 600.0  # seconds for the upload of one file
_AT_ONCE = 4  # uploads at the same time
_QUERY = 5000  # digests in one question
_ATTEMPTS = 3
_REFUSED = (exception.InvalidError, exception.NotFoundError, exception.DataLossError)


class Source:
    """One part of a mount: yields pairs of local path and path inside (relative to the container's root)."""

    def files(self) -> Iterator[tuple[Path, str]]:
        """Raises ``FileNotFoundError`` where what was named does not exist."""
        raise NotImplementedError

    def links(self) -> Iterator[tuple[str, str]]:
        """Pairs of path inside and where a symbolic link there leads."""
        return iter(())

    def folders(self) -> Iterator[str]:
        """Paths of folders that are there also when nothing is in them."""
        return iter(())

    def watched(self) -> Path:
        """The file or folder whose changes matter."""
        raise NotImplementedError


class File(Source):
    """A single file."""

    def __init__(self, local: Path, remote: str) -> None:
        self.local = local
        self.remote = remote

    def files(self) -> Iterator[tuple[Path, str]]:
        if not self.local.exists():
            raise FileNotFoundError(f"local file {str(self.local)!r} does not exist")
        if not self.local.is_file():
            raise exception.InvalidError(f"{str(self.local)!r} is no file; use add_local_dir for folders")
        yield self.local, self.remote

    def watched(self) -> Path:
        return self.local


class Tree(Source):
    """A folder with everything below it, but for what ``ignore`` says (called with paths relative to the folder).

    ``hidden`` False leaves out folders that begin with a dot, and caches of compiled Python.
    """

    def __init__(self, local: Path, remote: str, *, ignore: Callable[[Path], bool], hidden: bool = True) -> None:
        self.local = local
        self.remote = remote
        self._ignore = ignore
        self._hidden = hidden

    def files(self) -> Iterator[tuple[Path, str]]:
        from pathlib import Path

        if not self.local.exists():
            raise FileNotFoundError(f"local folder {str(self.local)!r} does not exist")
        if not self.local.is_dir():
            raise exception.InvalidError(f"{str(self.local)!r} is no folder; use add_local_file for files")
        prune = getattr(self._ignore, "can_prune_directories", bool)()
        yield from self._walk(self.local, Path(), prune, frozenset())

    def watched(self) -> Path:
        return self.local

    def _walk(self, folder: Path, inside: Path, prune: bool, above: frozenset[str]) -> Iterator[tuple[Path, str]]:
        real = os.path.realpath(folder)
        if real in above:  # a link back to one of its own parents
            return
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            path = inside / entry.name
            if entry.is_dir():
                if self._skips(entry.name) or (prune and self._ignore(path)):
                    continue
                yield from self._walk(folder / entry.name, path, prune, above | {real})
            elif entry.is_file() and not self._skips(entry.name) and not self._ignore(path):
                yield folder / entry.name, f"{self.remote}/{path.as_posix()}".lstrip("/")

    def _skips(self, name: str) -> bool:
        return not self._hidden and (name.startswith(".") or name == "__pycache__" or name.endswith(".pyc"))


class Module(Source):
    """A Python package or module, found through the import system, below ``/root``."""

    def __init__(self, name: str, *, ignore: Callable[[Path], bool]) -> None:
        self.name = name
        self._ignore = ignore

    def files(self) -> Iterator[tuple[Path, str]]:
        for source in self._sources():
            yield from source.files()

    def watched(self) -> Path:
        return self._sources()[0].watched()

    def _sources(self) -> list[File | Tree]:
        import importlib.util
        from pathlib import Path

        try:
            spec = importlib.util.find_spec(self.name)
        except (ImportError, ValueError, AttributeError) as exc:
            raise exception.ModuleNotMountable(f"module {self.name!r} cannot be looked up: {exc}") from exc
        if spec is None:
            raise exception.ModuleNotMountable(
                f"there is no module {self.name!r} here; run from a folder where it can be imported"
            )
        remote = "root/" + self.name.replace(".", "/")
        if spec.submodule_search_locations is not None:
            folders = [Path(folder).absolute() for folder in spec.submodule_search_locations]
            return [Tree(folder, remote, ignore=self._ignore, hidden=False) for folder in folders]
        if not spec.has_location or spec.origin is None:
            raise exception.ModuleNotMountable(f"module {self.name!r} is built into Python and has no file")
        origin = Path(spec.origin).absolute()
        suffix = origin.name[origin.name.index(".") :]
        return [File(origin, remote + suffix)]


class Mount:
    """What is added to a container's file system, in order: of two files at one place the later wins."""

    def __init__(self, *sources: Source) -> None:
        self.sources = sources

    def files(self) -> dict[str, Path]:
        """Local path by path inside."""
        return {remote: local for source in self.sources for local, remote in source.files()}

    async def upload(self, server: Requests) -> str:
        """Bring the server what it lacks and return the digest of the manifest.

        Raises ``FileNotFoundError``, ``MountUploadTimeoutError``, or ``ExecutionError`` where a file changes meanwhile.
        """
        import asyncio
        import json

        manifest, local = await asyncio.to_thread(self._read)
        text = json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode()
        digest = payload.digest(text)
        lacking = await _missing(server, [*local, digest])
        gate = asyncio.Semaphore(_AT_ONCE)

        async def send(wanted: str) -> None:
            async with gate:
                await _upload_file(server, wanted, local[wanted])

        await _all(send, [wanted for wanted in local if wanted in lacking])
        if digest in lacking:
            await _again(lambda: _put(server, digest, iter([text])))
        return digest

    def _read(self) -> tuple[images.MountManifest, dict[str, Path]]:
        local: dict[str, Path] = {}
        listed: list[images.MountFile] = []
        for remote, path in sorted(self.files().items()):
            digest, state = _digest(path)
            local[digest] = path
            mode = 0o755 if state.st_mode & 0o111 else 0o644
            listed.append({"path": remote, "digest": digest, "size": state.st_size, "mode": mode})
        manifest: images.MountManifest = {"files": listed}
        if links := dict(link for source in self.sources for link in source.links()):
            manifest["links"] = [{"path": path, "target": links[path]} for path in sorted(links)]
        if folders := {folder for source in self.sources for folder in source.folders()}:
            manifest["folders"] = sorted(folders)
        return manifest, local


async def _missing(server: Requests, digests: list[str]) -> set[str]:
    lacking: set[str] = set()
    for start in range(0, len(digests), _QUERY):
        query: blobs.BlobQuery = {"digests": digests[start : start + _QUERY]}
        lacking.update((await server.request("blob.missing", query)).body["missing"])
    return lacking


async def _upload_file(server: Requests, digest: str, path: Path) -> None:
    import asyncio

    async def send() -> None:
        with path.open("rb") as file:
            await asyncio.wait_for(_put(server, digest, iter(lambda: file.read(payload.CHUNK), b"")), _FILE_TIMEOUT)

    try:
        await _again(send)
    except asyncio.TimeoutError:
        raise exception.MountUploadTimeoutError(
            f"uploading {str(path)!r} took more than {_FILE_TIMEOUT / 60:.0f} minutes"
        ) from None
    except _REFUSED as exc:
        if (await asyncio.to_thread(_digest, path))[0] != digest:
            raise exception.ExecutionError(
                f"{str(path)!r} changed while it was uploaded", hint="Run again when the file is no longer written to."
            ) from exc
        raise


async def _again(send: Callable[[], Awaitable[None]]) -> None:
    """Upload, anew where the server lost the first pieces in a restart."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await send()
        except _REFUSED:
            continue
    await send()


async def _put(server: Requests, digest: str, chunks: Iterator[bytes]) -> None:
    """Send the pieces in order; the last message may carry an empty one."""
    from windlass.kit import ids

    upload_id, offset = ids.new("up"), 0
    piece = next(chunks, b"")
    while True:
        following = next(chunks, None) if piece else None
        body: blobs.BlobPut = {"upload_id": upload_id, "digest": digest, "offset": offset, "last": following is None}
        await server.request("blob.put", body, [piece])
        if following is None:
            return
        offset += len(piece)
        piece = following


async def _all(send: Callable[[str], Any], digests: list[str]) -> None:
    """Upload all; the first failure stops the others."""
    from windlass.kit import tasks

    async with tasks.Tasks(lambda name, exc: None) as owner:
        running = [owner.start(send(digest), f"upload {digest}") for digest in digests]
        for task in running:
            await task


def _digest(path: Path) -> tuple[str, os.stat_result]:
    import hashlib

    state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(payload.CHUNK):
            state.update(piece)
        return "sha256:" + state.hexdigest(), os.fstat(file.fileno())
