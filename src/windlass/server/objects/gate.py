"""While a backup is made nothing may go that it is about to read. Whoever deletes passes here.

The backup is another program, and may be killed: so it holds a lock on a file, which goes with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from windlass import exception

_POLL = 0.02


class Gate:
    """``path``: the file that says so by its lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def passing(self) -> Iterator[bool]:
        """Whether something may be deleted in this block. No backup begins before its end."""
        with self._opened() as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def shut(self, patience: float) -> Iterator[None]:
        """Nothing is deleted in this block. Raises ``ConflictError`` when others do not leave within ``patience``."""
        deadline = time.monotonic() + patience
        with self._opened() as descriptor:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise exception.ConflictError(
                            "another backup is being made, or much is being deleted", hint="Try again when it is over."
                        ) from None
                    time.sleep(_POLL)
            yield

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def of(home: Path) -> Gate:
    """The one of a home."""
    return Gate(home / "db" / "backup.lock")
