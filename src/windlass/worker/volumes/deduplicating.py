"""Bytes that layers hold twice are stored once, as far as nobody can tell.

    volumes/<layer id>/deduplicated   all of the layer's files were compared with those of the layers before it

Where the file system can let files share their bytes (btrfs, XFS), files with one digest do: each keeps its own times,
mode and owner. Elsewhere (ext4) one file takes the other's place, as a second name of the first, if nobody can see a
difference: they are alike in everything, and lie at the same path of two layers. Of one path a stack shows only the
topmost, so no mount has two names for one file, which programs like ``tar`` and ``cp -a`` would keep as such.

Bytes are compared before, not digests: what was damaged meanwhile is never spread. What the kernel guards (``verity``)
is not exchanged for what it does not guard.
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from windlass import exception
from windlass.worker.volumes import layers as layer_store
from windlass.worker.volumes import verity

LEAST = 64 * 1024
"""Bytes of a file that is worth it."""
_CHUNK = 1024 * 1024
_SHARED = 16 * 1024 * 1024  # bytes that file systems share in one call
_DEDUPE = 0xC0189436  # _IOWR(0x94, 54, struct file_dedupe_range)
_ARGUMENT = "=QQHHI qQQiI"  # offset, length, 1, 0, 0; the other's descriptor, offset, bytes done, status, 0
_UNABLE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)
Pace = Callable[[int], None]


class _Place(NamedTuple):
    """A file of a layer. ``fresh``: the layer has not been compared with others yet."""

    layer_id: str
    path: str
    file: Path
    fresh: bool


def is_due(layers: layer_store.Layers, before: float) -> bool:
    """Whether there are layers, older than ``before``, that were not compared with others."""
    return any(_is_fresh(layers, layer_id) and _birth(layers, layer_id) < before for layer_id in layers.known())


def deduplicate(layers: layer_store.Layers, pace: Pace) -> int:
    """Let new layers share their files' bytes with the others and with each other; how many bytes that freed.

    ``pace`` is told of bytes that were read, and may wait or raise. Cut short, the next time does the rest.
    """
    known = sorted(layers.known(), key=lambda one: (_is_fresh(layers, one), _birth(layers, one)))
    fresh = {layer_id: _index(layers, layer_id) for layer_id in known if _is_fresh(layers, layer_id)}
    wanted = {digest for index in fresh.values() for digest, size in index.values() if size >= LEAST}
    places: defaultdict[str, list[_Place]] = defaultdict(list)
    for layer_id in known if wanted else ():
        tree, is_fresh = layers.root / layer_id / "files", layer_id in fresh
        for path, (digest, _) in (fresh[layer_id] if is_fresh else _index(layers, layer_id)).items():
            if digest in wanted:
                places[digest].append(_Place(layer_id, path, tree / path, is_fresh))
    sharing = _Sharing(layers, pace)
    for alike in places.values():
        sharing.among(alike)
    for layer_id in fresh:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            (layers.root / layer_id / "deduplicated").touch()
    return sharing.freed


def same_bytes(one: BinaryIO, other: BinaryIO, pace: Pace = lambda size: None) -> bool:
    """Whether two open files hold the same, from where they are."""
    while True:
        piece, counterpart = one.read(_CHUNK), other.read(_CHUNK)
        if piece != counterpart:
            return False
        if not piece:
            return True
        pace(len(piece) * 2)


class _Sharing:
    def __init__(self, layers: layer_store.Layers, pace: Pace) -> None:
        self._layers = layers
        self._pace = pace
        self._can_share = True
        self.freed = 0

    def among(self, alike: list[_Place]) -> None:
        """Of files with one digest, those that were compared before come first."""
        kept: dict[tuple[int, int], _Place] = {}
        for place in alike:
            try:
                state = place.file.lstat()
                inode = state.st_dev, state.st_ino
                if inode in kept or not stat.S_ISREG(state.st_mode):
                    continue
                if place.fresh and self._is_spared(place, list(kept.values())):
                    self.freed += state.st_blocks * 512
                    continue
                kept[inode] = place
            except (OSError, exception.NotFoundError):  # removed meanwhile; damaged; too many names
                continue

    def _is_spared(self, place: _Place, kept: list[_Place]) -> bool:
        """Whether its bytes are another's now."""
        for other in kept:
            with self._layers.hold([place.layer_id, other.layer_id]):
                if other.path == place.path and self._link(other, place):
                    return True
        for other in kept[:1] if self._can_share else ():
            with self._layers.hold([place.layer_id, other.layer_id]):
                if self._share(other.file, place.file):
                    return True
        return False

    def _link(self, keep: _Place, spare: _Place) -> bool:
        if _looks(keep.file) != _looks(spare.file):
            return False
        with keep.file.open("rb", buffering=0) as one, spare.file.open("rb", buffering=0) as other:
            if verity.is_sealed(other.fileno()) and not verity.is_sealed(one.fileno()):
                return False
            for file in (one, other):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_NOREUSE)
            if not same_bytes(one, other, self._pace):
                return False
        folder = spare.file.parent
        times = folder.stat()
        with self._layers.draft() as draft:
            os.link(keep.file, draft / "twin", follow_symlinks=False)
            (draft / "twin").rename(spare.file)
        os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))
        return True

    def _share(self, keep: Path, spare: Path) -> bool:
        """Let the kernel compare, and share what is the same. False where it cannot, or where something differs."""
        with keep.open("rb") as one, spare.open("rb") as other:
            done, size = 0, os.fstat(one.fileno()).st_size
            while done < size:
                length = min(_SHARED, size - done)
                argument = bytearray(struct.pack(_ARGUMENT, done, length, 1, 0, 0, other.fileno(), done, 0, 0, 0))
                try:
                    fcntl.ioctl(one.fileno(), _DEDUPE, argument)
                except OSError as exc:
                    self._can_share = exc.errno not in _UNABLE
                    return False
                *_, shared, status, _ = struct.unpack(_ARGUMENT, argument)
                if -status in _UNABLE:
                    self._can_share = False
                if status or not shared:
                    return False
                self._pace(shared * 2)
                done += shared
            return True


def _looks(file: Path) -> tuple[object, ...]:
    """All that tells a file from another one with the same bytes."""
    state = file.lstat()
    attributes = sorted((name, os.getxattr(file, name)) for name in os.listxattr(file, follow_symlinks=False))
    return state.st_dev, state.st_mode, state.st_uid, state.st_gid, state.st_size, state.st_mtime_ns, attributes


def _index(layers: layer_store.Layers, layer_id: str) -> Mapping[str, tuple[str, int]]:
    """None of its files where it is gone or damaged. Not by ``Layers.index``, which would forget what others need."""
    try:
        return layers.read_index(layer_id)
    except exception.DataLossError:
        return {}


def _is_fresh(layers: layer_store.Layers, layer_id: str) -> bool:
    return not (layers.root / layer_id / "deduplicated").exists()


def _birth(layers: layer_store.Layers, layer_id: str) -> float:
    try:
        return (layers.root / layer_id / "index.json").stat().st_mtime
    except FileNotFoundError:
        return float("inf")
