"""A layer that takes away a folder as a whole hides whatever others put there meanwhile. Made anew, it takes away one
by one what its author did see, and leaves the rest alone.
"""
from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass.worker.volumes import layers as layer_store
from windlass.worker.volumes import taking


def spare(
    layer: Path, sight: Sight, clash: Sequence[str], clears: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Change the files of a layer that nobody has seen yet so that it hides none of the paths ``clash`` but those that
    its author saw, and meant to take away.

    Returns what it takes away now instead of ``clears``, and which of ``clash`` its author saw.
    """
    known = [path for path in clash if sight.shows(path)]
    spared = [path for path in clash if path not in known]
    left = {one for one in clears if not any(path.startswith(f"{one}/") for path in spared)}
    for path in spared:
        left.update(_spell(layer, sight, path.split("/"), spared))
    return sorted(left), known


class Sight(NamedTuple):
    """What the container saw before it took things away: a stack, and what it had committed above it."""

    base: Path
    seen: dict[str, taking.Seen]

    def shows(self, path: str) -> bool:
        if (one := self.seen.get(path)) is not None:
            return one.kind != taking.WHITEOUT
        parts = path.split("/")
        for end in range(len(parts) - 1, 0, -1):
            above = self.seen.get("/".join(parts[:end]))
            if above is not None and (above.kind != taking.FOLDER or above.digest):
                return False
        return os.path.lexists(self.base / path)

    def names(self, folder: str) -> set[str]:
        """What it saw in a folder."""
        below = self.base / folder
        names = {entry.name for entry in below.iterdir()} if below.is_dir() and not below.is_symlink() else set()
        names |= {path[len(folder) + 1 :].partition("/")[0] for path in self.seen if path.startswith(f"{folder}/")}
        return {name for name in names if self.shows(f"{folder}/{name}")}


def _spell(layer: Path, sight: Sight, path: list[str], spared: Collection[str]) -> list[str]:
    """Let ``layer`` no longer hide ``path``, but whatever else it did hide on the way there that was seen. The paths
    that it takes away instead."""
    place, below = layer, sight.base
    taken: list[str] = []
    for depth, part in enumerate(path[:-1], 1):
        place, below = place / part, below / part
        opened = _opened_up(place, below if below.is_dir() and not below.is_symlink() else layer)
        if opened is None:
            return taken  # nothing of it is hidden from here on; or by a file, and then the later commit wins
        if opened:
            folder = "/".join(path[:depth])
            taken += _hidden(place, folder, sight.names(folder), spared)
    return taken


def _hidden(place: Path, folder: str, names: Collection[str], spared: Collection[str]) -> list[str]:
    """Let a folder that hides nothing any more hide ``names``, and what it has itself, one by one."""
    taken = []
    for name in names:
        inner, path = place / name, f"{folder}/{name}"
        if not os.path.lexists(inner) and path not in spared:
            os.mknod(inner, stat.S_IFCHR, os.makedev(0, 0))
            taken.append(path)
    for inner in place.iterdir():
        if inner.is_dir() and not inner.is_symlink():
            os.setxattr(inner, taking.OPAQUE, b"y")
            taken.append(f"{folder}/{inner.name}")
    return taken


def _opened_up(place: Path, like: Path) -> bool | None:
    """Let a folder of a layer show what lies below it: whether it did not. None where there is no folder, nor was."""
    try:
        state = place.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISCHR(state.st_mode):
        place.unlink()
        place.mkdir()
        layer_store.dress_like(place, like)
        return True
    if not stat.S_ISDIR(state.st_mode):
        return None
    try:
        os.removexattr(place, taking.OPAQUE)
    except OSError:
        return False
    return True
