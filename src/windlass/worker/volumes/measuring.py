"""What folders take on the disk. A file that has several names counts once."""
from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from windlass.wire.messages import storage as messages

_BLOCK = 512
Inodes = dict[tuple[int, int], int]
"""Bytes on the disk by device and number."""


def layer(folder: Path) -> int:
    """Bytes that are free once this folder is gone: files that have a name elsewhere stay."""
    alone = [one for one in _states(folder) if stat.S_ISDIR(one.st_mode) or one.st_nlink == 1]
    return sum(one.st_blocks * _BLOCK for one in alone)


def inodes(folder: Path) -> Inodes:
    return {(state.st_dev, state.st_ino): state.st_blocks * _BLOCK for state in _states(folder)}


def whole(folder: Path) -> int:
    """Bytes on the disk of all below a folder."""
    return sum(inodes(folder).values())


def shown(folder: Path) -> tuple[int, int]:
    """Files of a tree, and their bytes: what a user sees, not what the disk does."""
    files = {(state.st_dev, state.st_ino): state.st_size for state in _states(folder) if stat.S_ISREG(state.st_mode)}
    return len(files), sum(files.values())


def volumes(root: Path, stacks: Mapping[str, Sequence[str]]) -> tuple[dict[str, messages.Measured], int]:
    """What volumes take, by their layers, and all of them together."""
    known = {name: inodes(root / name) for name in {name for stack in stacks.values() for name in stack}}
    whole: dict[str, Inodes] = {}
    owners: dict[tuple[int, int], int] = {}
    for volume, stack in stacks.items():
        whole[volume] = _joined(known[name] for name in stack)
        for inode in whole[volume]:
            owners[inode] = owners.get(inode, 0) + 1
    measured: dict[str, messages.Measured] = {}
    for volume, found in whole.items():
        shared = sum(size for inode, size in found.items() if owners[inode] > 1)
        measured[volume] = {"size": sum(found.values()), "shared": shared}
    return measured, sum(_joined(known.values()).values())


def _joined(parts: Iterable[Inodes]) -> Inodes:
    joined: Inodes = {}
    for part in parts:
        joined.update(part)
    return joined


def _states(folder: Path) -> Iterator[os.stat_result]:
    """Of everything below a folder, however deep, and of itself. What goes meanwhile is left out."""
    waiting = [str(folder)]
    while waiting:
        here = waiting.pop()
        try:
            descriptor = os.open(here, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            yield os.fstat(descriptor)
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(f"{here}/{entry.name}")
                        else:
                            yield entry.stat(follow_symlinks=False)
        finally:
            os.close(descriptor)
