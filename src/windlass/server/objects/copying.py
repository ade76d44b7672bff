"""Large files of programs on this machine: read where they are open, instead of being sent through the connection.

What is sent is copied again and again on its way, and wakes two processes with each piece. But who uses the platform
runs, as the same user, beside it: the kernel shows the server the files that such a program has open.
"""

from __future__ import annotations

import concurrent.futures
import fcntl
import os
import stat
import threading
from typing import BinaryIO

import blake3

from windlass import exception
from windlass.kit import digests
from windlass.wire.messages import volumes as messages

LANES = min(4, max(2, os.cpu_count() or 1))
"""Threads that copy one file. With one processor the second copies while the first waits for the disk."""
_STEP = 256 * 1024  # stays in a processor's cache
_FICLONE = 0x40049409


class Copying:
    """How far a copy is; it ends early once ``over`` is set."""

    def __init__(self) -> None:
        self.done = 0
        self.over = threading.Event()
        self._adding = threading.Lock()

    def add(self, size: int) -> None:
        with self._adding:
            self.done += size


def opened(process: int, body: messages.VolumeCopy) -> BinaryIO:
    """The file that a program has open, from its beginning.

    Raises ``NotFoundError`` where it cannot be seen from here, or is another one than is meant: whoever asks may sit on
    another machine, or in a container, and ``process`` only carry its connection here.
    """
    try:
        way = f"/proc/{process}/fd/{body['descriptor']}"
        file = os.fdopen(os.open(way, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb", 0)
    except OSError as exc:
        raise exception.NotFoundError(f"the server cannot see the file: {exc.strerror}") from None
    state = os.fstat(file.fileno())
    if not stat.S_ISREG(state.st_mode) or messages.identity(state) != body["identity"]:
        file.close()
        raise exception.NotFoundError("what the server sees is another file")
    return file


def copy(source: BinaryIO, target: BinaryIO, size: int, copying: Copying, threads: concurrent.futures.Executor) -> str:
    """Copy ``size`` bytes; their digest, "" where there are fewer, or nobody waits for it any more.

    ``threads`` share pieces. What is hashed is what is written, while the processor has it near. The kernel could copy
    by itself (``copy_file_range``), but half as fast: it moves single pages, and what it moved would be read again.
    """
    given = target if _shared(source, target, size) else source
    starts = range(0, size, digests.PIECE)
    found: list[bytes] = [b""] * len(starts)
    numbers = iter(range(len(starts)))  # one step of it is not interrupted by another thread

    def lane() -> None:
        buffer = memoryview(bytearray(_STEP))
        try:
            for number in numbers:
                piece = range(starts[number], min(starts[number] + digests.PIECE, size))
                found[number] = _piece(given.fileno(), target.fileno(), piece, copying, buffer)
        except BaseException:  # such as a full disk: what the others would still copy is of no use
            copying.over.set()
            raise

    lanes = [threads.submit(lane) for _ in range(LANES)]
    concurrent.futures.wait(lanes)  # before ``target`` is closed
    for one in lanes:
        one.result()
    return "" if copying.over.is_set() or copying.done < size else digests.of_pieces(found)


def _shared(source: BinaryIO, target: BinaryIO, size: int) -> bool:
    """Where the file system can (Btrfs, XFS), both files have the same bytes on the disk until one of them changes."""
    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    target.truncate(min(size, os.fstat(target.fileno()).st_size))
    return True


def _piece(source: int, target: int, piece: range, copying: Copying, buffer: memoryview) -> bytes:
    """Copy these bytes, or only read them where both are one file; their digest, as far as there are so many."""
    state, offset = blake3.blake3(), piece.start
    while offset < piece.stop and not copying.over.is_set():
        got = os.preadv(source, [buffer[: piece.stop - offset]], offset)
        if got and source != target:
            got = os.pwrite(target, buffer[:got], offset)
        if not got:
            break
        state.update(buffer[:got])
        copying.add(got)
        offset += got
    return state.digest()
