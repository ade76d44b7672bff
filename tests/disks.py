"""File systems of their own in a file, for tests that run as root in a mount namespace of theirs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def need(*programs: str) -> None:
    """Skip a test where there can be none."""
    if not Path("/dev/loop-control").exists() or not all(map(shutil.which, programs)):
        pytest.skip(f"no loop devices, or not all of {', '.join(programs)}")


@contextlib.contextmanager
def disk(folder: Path, kind: str, *options: str) -> Iterator[Path]:
    image, place = folder / "disk", folder / "there"
    with image.open("wb") as file:
        file.truncate(512 << 20)
    subprocess.run([f"mkfs.{kind}", *options, image], check=True, capture_output=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", image, place], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def flip(file: Path, offset: int = 0) -> None:
    """Flip a bit of a file as a disk does: no time changes, and what is in memory stays. On ext4 without checksums."""
    os.sync()
    told = subprocess.run(["filefrag", "-v", "-b4096", file], check=True, capture_output=True, text=True).stdout
    first = int(re.search(r"0:\s+0\.\.\s*\d+:\s+(\d+)", told)[1])  # type: ignore[index]
    line = ["findmnt", "-no", "SOURCE", "--target", file]
    source = subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()
    with open(source, "r+b", buffering=0) as device:
        (byte,) = os.pread(device.fileno(), 1, first * 4096 + offset)
        os.pwrite(device.fileno(), bytes([byte ^ 1]), first * 4096 + offset)
        os.fsync(device.fileno())


def forget(file: Path) -> None:
    """Let memory have nothing of a file any more."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
