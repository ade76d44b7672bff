"""Small files by plain names: a fifth of what the same costs through ``pathlib``, where it is done a thousand times."""
from __future__ import annotations

import os

_MOST = 64 * 1024


def read(path: str) -> bytes:
    """The beginning of a file, up to 64 KiB: all of what the kernel tells of itself in one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes) -> None:
    """Write to a file that is there, over what it begins with: a file of the kernel's, or one that is empty."""
    _write(path, data, os.O_WRONLY)


def create(path: str, data: bytes, mode: int = 0o644) -> None:
    """Make a file. Raises ``FileExistsError``."""
    _write(path, data, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)


def _write(path: str, data: bytes, flags: int, mode: int = 0) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        left = memoryview(data)
        while len(left):
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)
