"""Objects as files of this machine's disk: kept by a rename, and read where they lie."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from windlass import exception
from windlass.server.objects import contract


class Disk:
    """Below ``root``. ``synchronous``: what is kept is on the disk, not only on its way there."""

    def __init__(self, root: Path, *, synchronous: bool = False) -> None:
        self._root = root
        self._synchronous = synchronous
        root.mkdir(parents=True, exist_ok=True)

    def place(self, name: str) -> Path:
        return self._root / name

    async def keep(self, name: str, source: Path) -> None:
        self.take(name, source)

    def take(self, name: str, source: Path) -> None:
        """``keep`` without waiting: a rename where ``source`` is on the same disk."""
        with _told():
            if self._synchronous:
                _sync(source)
            target = self.place(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)

    async def bring(self, name: str, target: Path) -> None:
        with _told():
            shutil.copyfile(self.place(name), target)

    async def size(self, name: str) -> int | None:
        try:
            return self.place(name).stat().st_size
        except FileNotFoundError:
            return None

    async def remove(self, name: str) -> None:
        with _told():
            self.place(name).unlink(missing_ok=True)

    async def listed(self) -> AsyncIterator[contract.Object]:
        for path in sorted(self._root.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    state = path.stat()
                    yield contract.Object(str(path.relative_to(self._root)), state.st_size, state.st_mtime)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise exception.NotFoundError(f"no object {exc.filename}") from None
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise exception.ResourceExhaustedError(
                f"the disk of the server is full: {exc.filename}", hint="Free space on that disk and try again."
            ) from exc
        raise exception.InternalFailure(f"cannot reach stored objects: {exc}") from exc


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
