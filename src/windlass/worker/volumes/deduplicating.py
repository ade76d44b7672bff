"""Bytes that layers hold twice are stored once, as far as nobody can tell.

    volumes/<layer id>/deduplicated   all of the layer's files were compared with those of the layers before it

Where the file system can let files share their bytes (btrfs, XFS), files with one digest do: each keeps its own times,
mode and owner. Elsewhere (ext4) one file takes the other's place, as a second name of the first, if nobody can see a
difference: they are alike in everything, and lie at the same path of two layers. Of one path a stack shows only the
topmost, so no mount gets two names for one file, which programs like ``tar`` and ``cp -a`` would keep as such. A file
that has several names in a layer was given them by somebody, and is neither exchanged nor lent.

Bytes are compared before, as the disk has them, not digests: what was damaged meanwhile is never spread. What the
kernel guards (``verity``) is not exchanged for what it does not guard.
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections import Counter, defaultdict
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
_FULL = (errno.ENOSPC, errno.EDQUOT)
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

    Raises:
        OSError: the disk is full.
    """
    known = sorted(layers.known(), key=lambda one: (_is_fresh(layers, one), _birth(layers, one)))
    fresh = {layer_id: _worth(layers, layer_id) for layer_id in known if _is_fresh(layers, layer_id)}
    wanted = {digest for digests in fresh.values() for digest in digests.values()}
    places: defaultdict[str, list[_Place]] = defaultdict(list)
    for layer_id in known if wanted else ():
        tree, is_fresh = layers.root / layer_id / "files", layer_id in fresh
        for path, digest in (fresh[layer_id] if is_fresh else _worth(layers, layer_id)).items():
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
    """Whether two open files hold the same. One of them will be all there is: so it is the disk that is asked, as far
    as nobody has mapped them, and not what memory kept of it."""
    for file in (one, other):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
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
        states = [(place, state) for place in alike if (state := _state(place.file)) is not None]
        names = Counter((place.layer_id, state.st_ino) for place, state in states)
        several = {inode for (_, inode), count in names.items() if count > 1}
        kept: dict[int, _Place] = {}
        at: defaultdict[str, list[_Place]] = defaultdict(list)
        for place, state in states:
            if state.st_ino in kept:
                continue
            alone = state.st_ino not in several
            try:
                twins = at[place.path] if alone else []
                if place.fresh and self._is_spared(place, twins, next(iter(kept.values()), None)):
                    self.freed += state.st_blocks * 512 if state.st_nlink == 1 else 0
                    continue
            except exception.NotFoundError:  # removed meanwhile
                continue
            except OSError as exc:  # removed meanwhile; damaged; too many names
                if exc.errno in _FULL:
                    raise
                continue
            kept[state.st_ino] = place
            if alone:
                at[place.path].append(place)

    def _is_spared(self, place: _Place, twins: list[_Place], first: _Place | None) -> bool:
        """Whether its bytes are another's now. ``twins``: those at the same path."""
        for other in twins:
            with self._layers.hold([place.layer_id, other.layer_id]):
                if self._link(other, place):
                    return True
        if first is None or not self._can_share:
            return False
        with self._layers.hold([place.layer_id, first.layer_id]):
            return self._share(first.file, place.file)

    def _link(self, keep: _Place, spare: _Place) -> bool:
        if _looks(keep.file) != _looks(spare.file):
            return False
        with keep.file.open("rb", buffering=0) as one, spare.file.open("rb", buffering=0) as other:
            if verity.is_sealed(other.fileno()) and not verity.is_sealed(one.fileno()):
                return False
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
            if os.fstat(other.fileno()).st_size != size:  # damaged
                return False
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


def _worth(layers: layer_store.Layers, layer_id: str) -> Mapping[str, str]:
    """Digests of the files that are worth it, by path; none where the layer is gone or damaged. Not by
    ``Layers.index``, which would forget what others need."""
    try:
        index = layers.read_index(layer_id)
    except exception.DataLossError:
        return {}
    return {path: digest for path, (digest, size) in index.items() if size >= LEAST}


def _state(file: Path) -> os.stat_result | None:
    """None for what is no file, any more."""
    try:
        state = file.lstat()
    except OSError:
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def _is_fresh(layers: layer_store.Layers, layer_id: str) -> bool:
    return not (layers.root / layer_id / "deduplicated").exists()


def _birth(layers: layer_store.Layers, layer_id: str) -> float:
    try:
        return (layers.root / layer_id / "index.json").stat().st_mtime
    except FileNotFoundError:
        return float("inf")
