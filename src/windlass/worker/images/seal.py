"""The seal of a layer: what its tree looked like when it was published, in one digest.

A cheap walk says for each entry its path, kind, mode, owner, size, time, link target and the names of its extended
attributes; contents are not read. So a file that was deleted, truncated, replaced or given away is noticed, while a
whole store is looked through at the speed of the file system. Folders count without their times: a copy of the store
may have changed those, and what is in a folder is said by the entries themselves.
"""
from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_FORM = "1"
"""Which way the walk looks; a seal of another form is not compared."""


class Seal(NamedTuple):
    """``text`` goes into the record of a layer; ``size`` is the space on disk, linked files counted once."""

    text: str
    size: int


async def take(tree: Path) -> Seal:
    """The seal of ``tree``, by a walk in a thread. A tree that is not there is an empty one."""
    return await asyncio.to_thread(look, tree)


def look(tree: Path) -> Seal:
    """The same here and now."""
    digest, size, seen = hashlib.sha256(), 0, set()
    top = os.fsencode(tree)
    for path, state in walk(top):
        digest.update(_line(path[len(top) :], path, state))
        if state.st_nlink > 1 and not stat.S_ISDIR(state.st_mode):
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
        size += state.st_blocks * 512
    return Seal(f"{_FORM}:{digest.hexdigest()}", size)


def comparable(text: str) -> bool:
    """Whether this release makes seals of that form."""
    return text.startswith(f"{_FORM}:")


def walk(tree: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Each entry below ``tree`` with its state, parents first, by name; links are not followed."""
    try:
        with os.scandir(tree) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in listed:
        state = entry.stat(follow_symlinks=False)
        yield entry.path, state
        if stat.S_ISDIR(state.st_mode):
            yield from walk(entry.path)


def _line(name: bytes, path: bytes, state: os.stat_result) -> bytes:
    facts: list[Any] = [name, state.st_mode, state.st_uid, state.st_gid]
    if not stat.S_ISDIR(state.st_mode):
        facts += [state.st_size, state.st_mtime_ns]
    if stat.S_ISLNK(state.st_mode):
        facts.append(os.readlink(path))  # noqa: PTH115 - bytes
    facts.append(sorted(os.listxattr(path, follow_symlinks=False)))
    return repr(facts).encode() + b"\n"
