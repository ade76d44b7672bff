"""``FileIO``: a file of a sandbox, opened as Python opens files. Deprecated: use ``sandbox.filesystem``."""
from __future__ import annotations

import enum

from windlass import exception
from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from types import TracebackType
    from typing import Any, Generic, TypeVar

    T = TypeVar("T", str, bytes)

    class _File(Generic[T]): ...

else:

    class _File:
        def __class_getitem__(cls, _):
            return cls


_PIECE = 4 * 1024 * 1024
_MOST_READ, _MOST_WRITE = 100 * 1024 * 1024, 1024**3
_MODES = {"r": "update", "w": "truncate", "a": "append", "x": "create"}
_BUILTIN: list[tuple[type[exception.Error], type[OSError]]] = [
    (exception.SandboxFilesystemNotFoundError, FileNotFoundError),
    (exception.SandboxFilesystemIsADirectoryError, IsADirectoryError),
    (exception.SandboxFilesystemNotADirectoryError, NotADirectoryError),
    (exception.SandboxFilesystemPermissionError, PermissionError),
    (exception.SandboxFilesystemPathAlreadyExistsError, FileExistsError),
    (exception.SandboxFilesystemError, OSError),
    (exception.ResourceExhaustedError, OSError),
]


class FileWatchEventType(enum.Enum):
    """What happened to a file."""

    Unknown = "Unknown"
    Access = "Access"
    Create = "Create"
    Modify = "Modify"
    Remove = "Remove"


class FileWatchEvent:
    """A change: its ``type``, and the ``paths`` that it is about. A move has two."""

    __slots__ = ("paths", "type")

    def __init__(self, paths: list[str], type: FileWatchEventType) -> None:
        self.paths = paths
        self.type = type

    def __repr__(self) -> str:
        return f"FileWatchEvent(paths={self.paths!r}, type={self.type})"


class FileIO(_File["T"]):
    """A file of a sandbox, as ``Sandbox.open`` gives it.

    Example:
        >>> with sandbox.open("/tmp/note.txt", "w") as file:
        ...     file.write("hello")
    """

    def __init__(self, sandbox_id: str, path: str, mode: str) -> None:
        kind = mode.replace("b", "").replace("+", "")
        if len(mode) > 3 or kind not in _MODES or mode.count("b") > 1 or mode.count("+") > 1:
            raise ValueError(f"invalid mode: {mode!r}")
        self._sandbox_id = sandbox_id
        self._path = path
        self._kind = kind
        self._binary = "b" in mode
        self._reads = kind == "r" or "+" in mode
        self._writes = kind != "r" or "+" in mode
        self._offset = 0
        self._size = 0
        self._closed = False

    @staticmethod
    @faces.function
    async def create(path: str, mode: str, client: object, task_id: str) -> FileIO[Any]:
        """Open a file of a sandbox, as ``Sandbox.open`` does. ``task_id`` is the sandbox's id.

        Raises:
            FileNotFoundError: there is none.
        """
        return await opened(task_id, path, mode)

    @staticmethod
    @faces.function
    async def ls(path: str, client: object, task_id: str) -> list[str]:
        """Names in a folder of the sandbox ``task_id``."""
        return await names(task_id, path)

    @staticmethod
    @faces.function
    async def mkdir(path: str, client: object, task_id: str, parents: bool = False) -> None:
        """Make a folder in the sandbox ``task_id``."""
        await asked(task_id, "mkdir", path, parents=parents)

    @staticmethod
    @faces.function
    async def rm(path: str, client: object, task_id: str, recursive: bool = False) -> None:
        """Remove a file or a folder in the sandbox ``task_id``."""
        await asked(task_id, "remove", path, recursive=recursive)

    @staticmethod
    @faces.stream_function
    async def watch(
        path: str, client: object, task_id: str, filter: Sequence[FileWatchEventType] | None = None,
        recursive: bool = False, timeout: int | None = None,
    ) -> AsyncGenerator[Callable[[], FileWatchEvent], None]:
        """Changes of files in the sandbox ``task_id``, see ``SandboxFilesystem.watch``."""
        import functools

        from windlass import sandbox_fs

        async for event in sandbox_fs.watched(task_id, path, filter, recursive, timeout):
            yield functools.partial(_same, event)

    async def _begin(self) -> None:
        if self._kind == "r":
            reply, _ = await asked(self._sandbox_id, "read", self._path, size=0, offset=0)
        else:
            reply, _ = await asked(self._sandbox_id, "write", self._path, b"", mode=_MODES[self._kind])
        self._size = reply["total"]
        self._offset = self._size if self._kind == "a" else 0

    @faces.method
    async def read(self, n: int | None = None) -> T:
        """``n`` bytes from the current place, or all to the end (100 MiB at most)."""
        return self._given(await self._read(n))

    @faces.method
    async def readline(self) -> T:
        """One line, with its end."""
        return self._given(await self._line())

    @faces.method
    async def readlines(self) -> list[T]:
        """All lines to the end."""
        lines = (await self._read(None)).splitlines(keepends=True)
        return [self._given(line) for line in lines]

    @faces.method
    async def write(self, data: str | bytes) -> None:
        """Write at the current place (1 GiB at most)."""
        self._check(self._writes, "write")
        if not isinstance(data, (bytes, bytearray) if self._binary else str):
            raise TypeError(f"this file takes {'bytes' if self._binary else 'strings'}, not {type(data).__name__}")
        raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        if len(raw) > _MOST_WRITE:
            raise ValueError(f"one write takes at most {_MOST_WRITE:,} bytes")
        mode = "append" if self._kind == "a" else "update"
        for start in range(0, len(raw), _PIECE):
            piece = raw[start : start + _PIECE]
            reply, _ = await asked(self._sandbox_id, "write", self._path, piece, mode=mode, offset=self._offset)
            self._offset = reply["total"] if mode == "append" else self._offset + len(piece)

    @faces.method
    async def flush(self) -> None:
        """Nothing waits here: what was written is in the file."""
        self._check(True, "flush")

    @faces.method
    async def seek(self, offset: int, whence: int = 0) -> None:
        """Go to a place: from the beginning (0), from here (1), or from the end (2)."""
        self._check(True, "seek")
        if whence not in (0, 1, 2):
            raise ValueError(f"invalid whence: {whence}")
        if whence == 2:
            self._size = (await asked(self._sandbox_id, "read", self._path, size=0, offset=0))[0]["total"]
        place = (0, self._offset, self._size)[whence] + offset
        if place < 0:
            raise ValueError("there is nothing before the beginning of a file")
        self._offset = place

    @faces.method
    async def close(self) -> None:
        """It cannot be used any more."""
        self._closed = True

    @faces.method
    async def __enter__(self) -> FileIO[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._closed = True

    async def __aenter__(self) -> FileIO[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._closed = True

    def _given(self, data: bytes) -> T:
        return data if self._binary else data.decode("utf-8")  # type: ignore[return-value]

    def _check(self, may: bool, what: str) -> None:
        if self._closed:
            raise ValueError(f"{what} of a closed file")
        if not may:
            raise OSError(f"this file was not opened to {what}")

    async def _read(self, n: int | None) -> bytes:
        self._check(self._reads, "read")
        wanted = _MOST_READ + 1 if n is None or n < 0 else n
        if n is not None and n > _MOST_READ:
            raise ValueError(f"one read takes at most {_MOST_READ:,} bytes")
        pieces, got = [], 0
        while got < wanted:
            size = min(_PIECE, wanted - got)
            _, piece = await asked(self._sandbox_id, "read", self._path, size=size, offset=self._offset)
            self._offset += len(piece)
            got += len(piece)
            pieces.append(piece)
            if not piece:
                break
        if got > _MOST_READ:
            raise ValueError(f"one read takes at most {_MOST_READ:,} bytes: read(n) in between")
        return b"".join(pieces)

    async def _line(self) -> bytes:
        line = b""
        while b"\n" not in line:
            before = self._offset
            piece = await self._read(8192)
            if not piece:
                break
            end = piece.find(b"\n")
            if end >= 0:
                piece = piece[: end + 1]
                self._offset = before + len(piece)
            line += piece
        return line


def _same(event: FileWatchEvent) -> FileWatchEvent:
    return event


async def opened(sandbox_id: str, path: str, mode: str) -> FileIO[Any]:
    made: FileIO[Any] = FileIO(sandbox_id, path, mode)
    await made._begin()
    return made


async def asked(sandbox_id: str, op: str, path: str, data: Any = None, **more: Any) -> tuple[Any, bytes]:
    """As ``sandbox_fs.request``, with the errors that Python's own files have."""
    from windlass import sandbox_fs

    try:
        return await sandbox_fs.request(sandbox_id, op, sandbox_fs._path(path), data, **more)
    except exception.Error as exc:
        for ours, theirs in _BUILTIN:
            if isinstance(exc, ours):
                raise theirs(str(exc)) from None
        raise


async def names(sandbox_id: str, path: str) -> list[str]:
    reply, _ = await asked(sandbox_id, "list", path)
    return [entry["name"] for entry in reply["entries"]]
