"""Large files of programs on this machine: read where they are open, instead of being sent through the connection.

What is sent is copied again and again on its way, and wakes two processes with each piece. But who uses the platform
runs, as the same user, beside it: the kernel shows the server the files that such a program has open.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import os
import stat
import threading
from typing import BinaryIO

from windlass import exception
from windlass.wire.messages import volumes as messages

_STEP = 16 * 1024 * 1024
_AHEAD = 4  # steps that may be copied and not yet hashed
_PIECE = 256 * 1024  # stays in a processor's cache


class Copying:
    """How far a copy is; it ends early once ``over`` is set."""

    def __init__(self) -> None:
        self.done = 0
        self.over = threading.Event()


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


def copy(
    source: BinaryIO, target: BinaryIO, size: int, copying: Copying, hashing: concurrent.futures.Executor
) -> str:
    """Copy at most ``size`` bytes; their digest, "" where nobody waits for it any more. ``hashing``: one thread.

    The kernel copies; what is hashed is what has arrived.
    """
    state, behind = hashlib.sha256(), collections.deque[concurrent.futures.Future[None]]()
    try:
        while not copying.over.is_set():
            got = os.sendfile(target.fileno(), source.fileno(), None, min(_STEP, size - copying.done))
            if not got:
                break
            behind.append(hashing.submit(_hash, state, target.fileno(), copying.done, got))
            copying.done += got
            if len(behind) > _AHEAD:
                behind.popleft().result()
    finally:  # before ``target`` is closed
        concurrent.futures.wait(behind)
    for one in behind:
        one.result()
    return "" if copying.over.is_set() else f"sha256:{state.hexdigest()}"


def _hash(state: hashlib._Hash, file: int, offset: int, size: int) -> None:
    buffer = memoryview(bytearray(_PIECE))
    while size:
        got = os.preadv(file, [buffer[: min(size, _PIECE)]], offset)
        state.update(buffer[:got])
        offset, size = offset + got, size - got
