"""``sandbox.filesystem``: the files of a running sandbox, whatever programs its image has."""
from __future__ import annotations

import posixpath

from windlass import exception
from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Sequence
    from typing import Any

    from windlass import file_io
    from windlass.sandbox import Sandbox
    from windlass.types import FileInfo

_PIECE = 4 * 1024 * 1024
_AHEAD = 3
_LARGEST = 5 * 1024**3


class SandboxFilesystem:
    """Files of a sandbox, by absolute paths. Links are followed within the sandbox, and never lead out of it.

    Example:
        >>> sandbox.filesystem.write_text("hello", "/tmp/note.txt")
        >>> sandbox.filesystem.read_text("/tmp/note.txt")
        'hello'
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    @faces.method
    async def read_bytes(self, remote_path: str) -> bytes:
        """A file's content.

        Raises:
            SandboxFilesystemNotFoundError: there is no such file.
            SandboxFilesystemIsADirectoryError: it is a directory.
            SandboxFilesystemFileTooLargeError: it has more than 5 GiB.
        """
        return b"".join([piece async for piece in _pieces(self._id(), _path(remote_path))])

    @faces.method
    async def read_text(self, remote_path: str) -> str:
        """A file's content as text (UTF-8). Raises as ``read_bytes``, and ``UnicodeDecodeError``."""
        pieces = [piece async for piece in _pieces(self._id(), _path(remote_path))]
        return b"".join(pieces).decode("utf-8")

    @faces.method
    async def write_bytes(self, data: bytes | bytearray | memoryview, remote_path: str) -> None:
        """Write a file; folders above it are made, and what it held is replaced.

        Raises:
            TypeError: that are no bytes.
            SandboxFilesystemIsADirectoryError: a directory is there.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        await _write(self._id(), _path(remote_path), memoryview(data).cast("B"))

    @faces.method
    async def write_text(self, data: str, remote_path: str) -> None:
        """Write a file of text (UTF-8), see ``write_bytes``."""
        if not isinstance(data, str):
            raise TypeError(f"data must be a string, not {type(data).__name__}")
        await _write(self._id(), _path(remote_path), memoryview(data.encode("utf-8")))

    @faces.method
    async def copy_from_local(self, local_path: str | os.PathLike[str], remote_path: str) -> None:
        """Copy a file of this machine into the sandbox.

        Raises:
            FileNotFoundError: there is no such file here.
        """
        import asyncio
        from pathlib import Path

        identity, path = self._id(), _path(remote_path)
        file = await asyncio.to_thread(Path(local_path).open, "rb")
        with file:
            offset = 0
            while True:
                data = await asyncio.to_thread(file.read, _PIECE)
                if data or not offset:
                    await _put(identity, path, data, offset)
                offset += len(data)
                if len(data) < _PIECE:
                    return

    @faces.method
    async def copy_to_local(self, remote_path: str, local_path: str | os.PathLike[str]) -> None:
        """Copy a file of the sandbox to this machine: whole or not at all. Folders above it are made."""
        import asyncio
        import tempfile
        from pathlib import Path

        target = Path(local_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as draft:
            try:
                async for piece in _pieces(self._id(), _path(remote_path)):
                    await asyncio.to_thread(draft.write, piece)
                draft.flush()
                Path(draft.name).chmod(0o644)
                Path(draft.name).replace(target)
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)
                raise

    @faces.method
    async def list_files(self, remote_path: str) -> list[FileInfo]:
        """What lies in a directory, by name.

        Raises:
            SandboxFilesystemNotADirectoryError: it is none.
        """
        reply, _ = await request(self._id(), "list", _path(remote_path))
        return [_info(entry) for entry in reply["entries"]]

    @faces.method
    async def stat(self, remote_path: str) -> FileInfo:
        """What is at a path; of a link, the link itself."""
        reply, _ = await request(self._id(), "stat", _path(remote_path))
        return _info(reply["entries"][0])

    @faces.method
    async def make_directory(self, remote_path: str, *, create_parents: bool = True) -> None:
        """Make a directory.

        Args:
            remote_path: of the directory.
            create_parents: those above it, too, and it may be there already.

        Raises:
            SandboxFilesystemPathAlreadyExistsError: it is there, and may not be.
        """
        await request(self._id(), "mkdir", _path(remote_path), parents=create_parents)

    @faces.method
    async def remove(self, remote_path: str, *, recursive: bool = False) -> None:
        """Remove a file, a link, or a directory.

        Raises:
            SandboxFilesystemDirectoryNotEmptyError: the directory holds something, and ``recursive`` is not set.
        """
        await request(self._id(), "remove", _path(remote_path), recursive=recursive)

    @faces.stream
    async def watch(
        self,
        path: str,
        *,
        filter: Sequence[file_io.FileWatchEventType] | None = None,
        recursive: bool = False,
        timeout: int | None = None,
    ) -> AsyncGenerator[Callable[[], file_io.FileWatchEvent], None]:
        """Changes at a path, as they come.

        Args:
            path: of a directory, or of a file.
            filter: only changes of these kinds.
            recursive: also in the directories below.
            timeout: seconds after which it ends.
        """
        async for event in watched(self._id(), path, filter, recursive, timeout):
            yield lambda event=event: event  # type: ignore[misc]

    def _id(self) -> str:
        return self._sandbox._usable()


def _path(path: Any) -> str:
    from windlass.client import sandboxes

    return sandboxes.path(path)


async def request(sandbox_id: str, op: str, path: str, data: Any = None, **more: Any) -> tuple[Any, bytes]:
    """One operation on a file. What has run out with the sandbox is a ``NotFoundError``."""
    from windlass.client import session

    body = {"sandbox_id": sandbox_id, "op": op, "path": path, **more}
    try:
        reply = await session.current().request("sandbox.file", body, [] if data is None else [data])
    except exception.ConflictError as exc:
        raise exception.NotFoundError(str(exc)) from None
    return reply.body, reply.attachments[0] if reply.attachments else b""


async def _pieces(sandbox_id: str, path: str) -> AsyncGenerator[bytes, None]:
    """A file from its beginning to its end; some pieces are asked for ahead."""
    import asyncio

    from windlass.client import session

    _, data = await request(sandbox_id, "read", path, offset=0, size=_PIECE)
    yield data
    if len(data) < _PIECE:
        return
    offset, owned = len(data), session.current().tasks
    asked: list[asyncio.Task[tuple[Any, bytes]]] = []
    try:
        while True:
            while len(asked) < _AHEAD:
                ahead = request(sandbox_id, "read", path, offset=offset, size=_PIECE)
                asked.append(owned.start(ahead, f"read {path}"))
                offset += _PIECE
            _, data = await asked.pop(0)
            if data:
                yield data
            if len(data) < _PIECE:
                return
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _write(sandbox_id: str, path: str, data: memoryview) -> None:
    import asyncio

    await _put(sandbox_id, path, data[:_PIECE], 0)
    gate = asyncio.Semaphore(_AHEAD)

    async def put(offset: int) -> None:
        async with gate:
            await _put(sandbox_id, path, data[offset : offset + _PIECE], offset)

    await asyncio.gather(*(put(offset) for offset in range(_PIECE, len(data), _PIECE)))


async def _put(sandbox_id: str, path: str, data: bytes | memoryview, offset: int) -> None:
    if offset:
        await request(sandbox_id, "write", path, data, offset=offset, mode="update")
    else:
        await request(sandbox_id, "write", path, data, mode="truncate", parents=True)


async def watched(
    sandbox_id: str, path: str, filter: Sequence[Any] | None, recursive: bool, timeout: float | None
) -> AsyncGenerator[file_io.FileWatchEvent, None]:
    """Events below a path."""
    from windlass import file_io
    from windlass.client import session

    body: dict[str, Any] = {"sandbox_id": sandbox_id, "path": _path(path), "recursive": recursive}
    if timeout is not None:
        if timeout <= 0:
            raise exception.InvalidError(f"timeout must be positive, not {timeout!r}")
        body["seconds"] = float(timeout)
    try:
        async for reply in session.current().stream("sandbox.watch", body):
            if not reply.body["kind"]:
                continue  # it has begun
            kind = file_io.FileWatchEventType(reply.body["kind"])
            if filter is None or kind in filter:
                yield file_io.FileWatchEvent(paths=reply.body["paths"], type=kind)
    except exception.ConflictError as exc:
        raise exception.NotFoundError(str(exc)) from None


def _info(entry: Any) -> FileInfo:
    import stat

    from windlass import types

    return types.FileInfo(
        name=entry["name"], path=posixpath.normpath(entry["path"]), type=entry["kind"], size=entry["size"],
        mode=stat.S_IMODE(entry["mode"]), permissions=stat.filemode(entry["mode"]), owner=str(entry["owner"]),
        group=str(entry["group"]), modified_time=entry["modified"], symlink_target=entry["target"] or None,
    )  # fmt: skip
