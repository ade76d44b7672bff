"""Large files of programs on this machine: read where they are open, instead of being sent through the connection.

What is sent is copied again and again on its way, and wakes two processes with each piece. But who uses the platform
runs, as the same user, beside it: the kernel shows the server the files that such a program has open.
"""

from __future__ import annotations

import concurrent.futures
import errno
import hashlib
import os
import stat
import threading
from typing import BinaryIO

from windlass import exception
from windlass.kit import digests
from windlass.wire.messages import volumes as messages

LANES = min(4, max(2, os.cpu_count() or 1))
"""Threads that copy one file. With one processor the second copies while the first waits for the disk."""
_STEP = 256 * 1024  # stays in a processor's cache
_OTHERWISE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # between file systems, or on special ones


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

    The kernel copies; what is hashed is what has arrived, while the processor has it near. ``threads`` share pieces.
    """
    starts = range(0, size, digests.PIECE)
    found: list[bytes] = [b""] * len(starts)
    numbers = iter(range(len(starts)))  # one step of it is not interrupted by another thread

    def lane() -> None:
        buffer = memoryview(bytearray(_STEP))
        try:
            for number in numbers:
                piece = min(digests.PIECE, size - starts[number])
                found[number] = _piece(source.fileno(), target.fileno(), starts[number], piece, copying, buffer)
        except BaseException:  # such as a full disk: what the others would still copy is of no use
            copying.over.set()
            raise

    lanes = [threads.submit(lane) for _ in range(LANES)]
    concurrent.futures.wait(lanes)  # before ``target`` is closed
    for one in lanes:
        one.result()
    return "" if copying.over.is_set() or copying.done < size else digests.of_pieces(found)


def _piece(source: int, target: int, offset: int, size: int, copying: Copying, buffer: memoryview) -> bytes:
    state, end = hashlib.sha256(), offset + size
    while offset < end and not copying.over.is_set():
        arrived = offset + _step(source, target, offset, min(len(buffer), end - offset), buffer)
        if arrived == offset:
            break
        copying.add(arrived - offset)
        while offset < arrived:
            got = os.preadv(target, [buffer[: arrived - offset]], offset)
            state.update(buffer[:got])
            offset += got
    return state.digest()


def _step(source: int, target: int, offset: int, size: int, buffer: memoryview) -> int:
    """How many bytes were copied, 0 at the end."""
    try:
        return os.copy_file_range(source, target, size, offset, offset)
    except OSError as exc:
        if exc.errno not in _OTHERWISE:
            raise
    got = os.preadv(source, [buffer[:size]], offset)
    return os.pwrite(target, buffer[:got], offset)
