"""Many layers become one that shows the same: no file is copied, all are linked.

What a layer takes away must be kept as long as there may be something below to take away.
"""
from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from windlass.worker.volumes import checking, taking
from windlass.worker.volumes import layers as layer_store


def merge(layers: layer_store.Layers, layer_ids: Sequence[str], *, bottom: bool) -> layer_store.Made:
    """One layer for a run of them, bottom first. ``bottom``: nothing lies below the run."""
    indexes = {layer: layers.index(layer) for layer in layer_ids}
    with layers.hold(layer_ids), layers.draft() as draft:
        trees = [(layer, layers.files(layer)) for layer in reversed(layer_ids)]
        merging = _Merging(indexes, bottom=bottom)
        merging.folder(trees, draft / "files", "")
        _dress(draft / "files", trees[0][1])
        made = layers.publish(draft, merging.files, puts=[], clears=[])
        damaged = {layer: merging.of[layer].intersection(checking.marked(layers, layer)) for layer in layer_ids}
        checking.mark(layers, made.layer_id, sorted(set().union(*damaged.values())))
        return made


class _Merging:
    def __init__(self, indexes: dict[str, layer_store.Files], *, bottom: bool) -> None:
        self._indexes = indexes
        self._bottom = bottom
        self.files: dict[str, tuple[str, int]] = {}
        self.of: defaultdict[str, set[str]] = defaultdict(set)
        """Which layer each path comes from."""

    def folder(self, trees: Sequence[tuple[str, Path]], target: Path, path: str) -> None:
        """Fill ``target`` with what the folders ``trees`` (topmost first) show together."""
        names = sorted({name for _, tree in trees for name in os.listdir(tree)})  # noqa: PTH208
        for name in names:
            self._entry(trees, target / name, name, f"{path}/{name}" if path else name)

    def _entry(self, trees: Sequence[tuple[str, Path]], target: Path, name: str, path: str) -> None:
        folders: list[tuple[str, Path]] = []
        ends = False  # whatever lies below is hidden
        for layer, tree in trees:
            place = tree / name
            try:
                state = place.lstat()
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(state.st_mode):
                if not folders:
                    self._single(layer, place, state, target, path)
                    return
                ends = True
                break
            folders.append((layer, place))
            if _is_opaque(place):
                ends = True
                break
        target.mkdir()
        self.folder(folders, target, path)
        if ends and not self._bottom:
            os.setxattr(target, taking.OPAQUE, b"y")
        _dress(target, folders[0][1])

    def _single(self, layer: str, place: Path, state: os.stat_result, target: Path, path: str) -> None:
        if stat.S_ISCHR(state.st_mode):
            if not self._bottom:
                os.link(place, target, follow_symlinks=False)
            return
        os.link(place, target, follow_symlinks=False)
        if stat.S_ISREG(state.st_mode) and path in self._indexes[layer]:
            self.files[path] = self._indexes[layer][path]
            self.of[layer].add(path)


def _is_opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, taking.OPAQUE) == b"y"
    except OSError:
        return False


def _dress(target: Path, like: Path) -> None:
    state = like.stat()
    os.chown(target, state.st_uid, state.st_gid)
    target.chmod(stat.S_IMODE(state.st_mode))
    taking.copy_attributes(like, target)
    os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
