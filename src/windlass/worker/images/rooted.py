"""A tree as a process sees it that has the tree as its root: no link of the tree leads out of it.

The kernel resolves each path within the root (``openat2``); what is made, is made by the descriptor of its folder.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

_OPENAT2 = 437  # of every architecture
_IN_ROOT = 0x10
_NO_MAGIC_LINKS = 0x02
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class Root:
    """Paths are as inside, with or without a slash at their beginning. ``descriptor``: of the open root."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @contextlib.contextmanager
    def opened(self, path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        """A descriptor of what ``path`` leads to. Raises ``OSError``."""
        descriptor = self._open(path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def state(self, path: str) -> os.stat_result | None:
        """Of what ``path`` leads to; None where it is nothing."""
        try:
            with self.opened(path, os.O_PATH) as descriptor:
                return os.fstat(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, path: str) -> list[str]:
        """What a folder holds; nothing where it is none."""
        try:
            with self.opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                with os.scandir(descriptor) as entries:
                    return [entry.name for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def text(self, path: str, most: int = 4 * 1024 * 1024) -> str:
        """A small file's text; "" where there is none."""
        try:
            # A pipe in its place must not make us wait.
            with self.opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
                return os.read(descriptor, most).decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ""

    def make(self, path: str) -> list[str]:
        """Let the folder ``path`` exist; the folders that were made for it, outermost first."""
        parts = [part for part in posixpath.normpath(f"/{path}").split("/") if part]
        known = len(parts)
        while known and self.state("/".join(parts[:known])) is None:  # from the end, where folders are missing
            known -= 1
        made: list[str] = []
        for depth in range(known, len(parts)):
            with self.opened("/".join(parts[:depth]), os.O_PATH | os.O_DIRECTORY) as descriptor:
                os.mkdir(parts[depth], 0o755, dir_fd=descriptor)
            made.append("/" + "/".join(parts[: depth + 1]))
        return made

    def _open(self, path: str, flags: int) -> int:
        how = _How(flags | os.O_CLOEXEC, 0, _IN_ROOT | _NO_MAGIC_LINKS)
        name = os.fsencode(path.lstrip("/") or ".")
        number, size = ctypes.c_long(_OPENAT2), ctypes.c_size_t(ctypes.sizeof(how))
        found: int = _libc.syscall(number, ctypes.c_long(self.descriptor), name, ctypes.byref(how), size)
        if found < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), f"/{path.lstrip('/')}")
        return found


@contextlib.contextmanager
def at(folder: Path) -> Iterator[Root]:
    """The tree at ``folder``."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Root(descriptor)
    finally:
        os.close(descriptor)
