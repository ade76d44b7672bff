"""File changes as callbacks on the event loop (Linux inotify through libc)."""
from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

MODIFY = 0x2
CLOSE_WRITE = 0x8
MOVED_TO = 0x80

_EVENT = struct.Struct("iIII")
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Inotify:
    """One inotify instance. Each path is watched once; the callback receives the file's name in a watched folder."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[str], None]] = {}

    def __enter__(self) -> Inotify:
        self._fd = _check(_libc.inotify_init1(_NONBLOCK_CLOEXEC))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._callbacks.clear()

    def watch(self, path: Path, mask: int, callback: Callable[[str], None]) -> int:
        """Call ``callback`` on the events of ``mask`` until ``forget``."""
        watch = _check(_libc.inotify_add_watch(self._fd, os.fsencode(path), mask))
        self._callbacks[watch] = callback
        return watch

    def forget(self, watch: int) -> None:
        """Stop watching. A path that is gone has already stopped."""
        if self._callbacks.pop(watch, None) is not None:
            _libc.inotify_rm_watch(self._fd, watch)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        start = 0
        while start < len(data):
            watch, _mask, _cookie, size = _EVENT.unpack_from(data, start)
            start += _EVENT.size
            name = data[start : start + size].rstrip(b"\0")
            start += size
            if (callback := self._callbacks.get(watch)) is not None:
                callback(os.fsdecode(name))
