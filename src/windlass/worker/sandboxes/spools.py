"""One stream of a command: its output waits in a file until somebody has read it.

    pipe ── splice ──► a file without a name ── read by offset ──► whoever asks

The file holds what nobody has read; when that is too much, the pipe is not emptied any more, and the command waits as
it would for any reader. What was read is written over. So a flood costs neither memory nor much disk, and its pages are
made once.

How much is in the file says its position, which the kernel moves together with the bytes: so a worker that is killed at
whatever moment loses nothing of it.
"""
from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from windlass import exception
from windlass.kit import descriptors

SPLICED = 1024 * 1024
_UNREAD = 64 * 1024 * 1024  # bytes of one stream that wait for a reader, then the command does
_BEHIND = 16 * 1024 * 1024  # bytes that stay when they have been read: a reader may ask again
_ROUND = _UNREAD + _BEHIND  # size of the file, which is written around and around; behind it stands how often
FED = _ROUND + 8  # and then, in the first stream's file, how much of the input was written
_PIECE = 1024 * 1024


class Spool:
    """One stream of a command. ``where``: a folder for a new file, or the file that an earlier worker has begun."""

    def __init__(self, where: Path | int, source: int, *, keep: bool) -> None:
        self.source = source
        self.file = where if isinstance(where, int) else os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._keep = keep
        self._rounds = _rounds(self.file)
        self._size = self._rounds * _ROUND + os.lseek(self.file, 0, os.SEEK_CUR)
        self._read = max(0, self._size - _UNREAD)  # whoever reads will say so; until then nothing is written over
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self.over = False
        self.failed: Callable[[], None] = lambda: None
        """Lets nobody else hold its source open: whoever writes there shall hear that nobody reads."""
        self.emptied: Callable[[], None] = lambda: None
        """Is told that all is in the file."""

    async def fill(self) -> None:
        """Until the other end is closed. Its descriptor is closed with it."""
        os.set_blocking(self.source, False)
        splice: Callable[..., int] | None = os.splice
        try:
            while True:
                while self._keep and self._size - self._read >= _UNREAD:
                    self._room.clear()
                    await self._room.wait()
                try:
                    count, splice = self._take(splice)
                except BlockingIOError:
                    await descriptors.ready(self.source)
                    continue
                except OSError as exc:  # a terminal whose other end is closed, or a full disk: what follows is lost
                    if exc.errno != errno.EIO:
                        self.failed()
                    break
                if not count:
                    break
                self._tell()
            self.emptied()
        finally:
            self.over = True
            os.close(self.source)
            if not self._size:
                self.close()
            self._tell()

    def _take(self, splice: Callable[..., int] | None) -> tuple[int, Callable[..., int] | None]:
        if not self._keep:
            return len(os.read(self.source, SPLICED)), splice
        place = self._size % _ROUND
        if not place and self._size > self._rounds * _ROUND:
            self._rounds += 1
            _begin_round(self.file, self._rounds)
        most = min(SPLICED, _ROUND - place)
        if splice is not None:
            try:
                count = splice(self.source, self.file, most)
            except OSError as exc:
                if exc.errno != 22:
                    raise
                return self._take(None)  # a terminal cannot be spliced
            self._size += count
            return count, splice
        data = os.read(self.source, most)
        left = memoryview(data)
        while left:
            left = left[os.write(self.file, left) :]
        self._size += len(data)
        return len(data), None

    async def read(self, offset: int, most: int, seconds: float) -> tuple[bytes, bool]:
        """What is there from ``offset`` on, and whether nothing will follow."""
        if offset < self._size - _ROUND:
            raise exception.OutputExpiredError("this part of the output has been read, and is gone")
        self._read = max(self._read, offset)
        self._room.set()
        if self._size <= offset and not self.over and seconds > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wait(offset), seconds)
        place = offset % _ROUND
        size = max(0, min(most, _PIECE, self._size - offset, _ROUND - place))
        data = os.pread(self.file, size, place) if size else b""
        return data, self.over and offset + len(data) >= self._size

    async def _wait(self, offset: int) -> None:
        while self._size <= offset and not self.over:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def let_go(self) -> None:
        """What follows is not its output any more."""
        if not self.over:
            self.over = True
            self._tell()

    def close(self) -> None:
        """Drop what was written."""
        if self.file >= 0:
            os.close(self.file)
            self.file, self._size = -1, 0


def _rounds(file: int) -> int:
    """How often it was filled. A worker may have been killed at each step of ``_begin_round``."""
    twice = int.from_bytes(os.pread(file, 8, _ROUND), "little")
    if twice % 2:
        _begin_round(file, twice // 2 + 1)
    return (twice + 1) // 2


def _begin_round(file: int, number: int) -> None:
    os.pwrite(file, (2 * number - 1).to_bytes(8, "little"), _ROUND)
    os.lseek(file, 0, os.SEEK_SET)
    os.pwrite(file, (2 * number).to_bytes(8, "little"), _ROUND)


def opened(folder: Path, source: int, *, keep: bool) -> Spool:
    """A new one. Closes ``source`` where that fails."""
    try:
        return Spool(folder, source, keep=keep)
    except OSError:
        os.close(source)
        raise
