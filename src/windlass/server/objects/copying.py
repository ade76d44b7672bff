"""Large files of programs on this machine: read where they are open, instead of being sent through the connection.

Each byte of a file that is sent is copied ten times on its way, and wakes two processes some thousand times. But who
uses the platform runs, as the same user, beside it: the kernel shows the server the files that such a program has open.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import os
import stat
import threading
from typing import BinaryIO

from windlass import exception
from windlass.wire import payload
from windlass.wire.messages import volumes as messages

_BUFFERS = 4  # that may be written and not yet hashed


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
    """Copy at most ``size`` bytes; their digest, "" where nobody waits for it any more. ``hashing``: one thread."""
    state = hashlib.sha256()
    buffers = [memoryview(bytearray(payload.CHUNK)) for _ in range(_BUFFERS)]
    behind: list[concurrent.futures.Future[None]] = []
    for buffer in itertools.cycle(buffers):
        if len(behind) == _BUFFERS:
            behind.pop(0).result()
        got = source.readinto(buffer[: size - copying.done])  # type: ignore[attr-defined]
        if not got:
            break
        behind.append(hashing.submit(state.update, buffer[:got]))
        target.write(buffer[:got])
        copying.done += got
        if copying.over.is_set():
            return ""
    for one in behind:
        one.result()
    return f"sha256:{state.hexdigest()}"
