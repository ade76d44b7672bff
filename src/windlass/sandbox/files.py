"""Its files and its volumes, from outside."""
from __future__ import annotations

import typing

from windlass.client import faces
from windlass.sandbox import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from typing import Any

    from windlass import file_io, sandbox_fs
    from windlass.sandbox import Sandbox



class Files(handle.Handle):
    """The members of ``Sandbox`` about its files."""

    @property
    def filesystem(self) -> sandbox_fs.SandboxFilesystem:
        """Its files: read, write, copy, list, watch."""
        from windlass import sandbox_fs

        return sandbox_fs.SandboxFilesystem(typing.cast("Sandbox", self))

    @faces.method
    async def open(self, path: str, mode: str = "r") -> file_io.FileIO[Any]:
        """Open one of its files. Deprecated: use ``filesystem``.

        Raises:
            FileNotFoundError: there is none.
        """
        from windlass import file_io

        return await file_io.opened(self._usable(), path, mode)

    @faces.method
    async def ls(self, path: str) -> Sequence[str]:
        """Names in a folder. Deprecated: use ``filesystem.list_files``."""
        from windlass import file_io

        return await file_io.names(self._usable(), path)

    @faces.method
    async def mkdir(self, path: str, parents: bool = False) -> None:
        """Make a folder. Deprecated: use ``filesystem.make_directory``."""
        from windlass import file_io

        await file_io.asked(self._usable(), "mkdir", path, parents=parents)

    @faces.method
    async def rm(self, path: str, recursive: bool = False) -> None:
        """Remove a file or a folder. Deprecated: use ``filesystem.remove``."""
        from windlass import file_io

        await file_io.asked(self._usable(), "remove", path, recursive=recursive)

    @faces.stream
    async def watch(
        self,
        path: str,
        filter: Sequence[file_io.FileWatchEventType] | None = None,
        recursive: bool | None = None,
        timeout: int | None = None,
    ) -> AsyncGenerator[Callable[[], file_io.FileWatchEvent], None]:
        """Changes of files. Deprecated: use ``filesystem.watch``."""
        from windlass import sandbox_fs

        async for event in sandbox_fs.watched(self._usable(), path, filter, bool(recursive), timeout):
            yield lambda event=event: event  # type: ignore[misc]

    @faces.method
    async def reload_volumes(self, *, timeout: int = 55) -> None:
        """See what others have committed to its volumes since it began.

        Args:
            timeout: seconds that it may take.

        Raises:
            InvalidError: ``timeout`` is not positive.
            ConflictError: a program in it has files of a volume open, or the sandbox has ended.
            TimeoutError: it took longer.
        """
        body = {"sandbox_id": self._usable(), "seconds": handle.seconds("timeout", timeout)}
        await handle.request("sandbox.reload", body)
