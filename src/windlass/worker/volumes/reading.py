"""What a volume holds, for those who look from outside: listings, and files whose bytes are checked first.

Paths are resolved by the kernel with the volume as the root, so that no link and no ".." leads out of it. Network file
systems are read in the same way, while containers write to them.
"""
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import blake3

from windlass import exception
from windlass.kit import digests
from windlass.worker.images import rooted
from windlass.worker.volumes import layers as layer_store

_DEPTH = 256
PIECE = 1024 * 1024
"""Bytes that are looked at, and given out, at once."""
_SHORT = 16  # bytes of a piece's digest, which is kept in memory only
_REMEMBERED = 200_000  # files that are known to be good
_KINDS = {
    stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFSOCK: "s",
}  # fmt: skip


class Entry(NamedTuple):
    """``path`` from the volume's root, without a slash at its beginning. ``kind`` as in ``VolumeEntries``."""

    path: str
    kind: str
    mtime: int
    size: int


def entries(view: Path, path: str, *, recursive: bool) -> Iterator[Entry]:
    """What is at ``path``: a folder's content, or a file itself. Raises ``NotFoundError``."""
    shown = "/".join(part for part in path.split("/") if part not in ("", "."))
    with rooted.at(view) as root:
        state = _state(root, path)
        if not stat.S_ISDIR(state.st_mode):
            yield _entry(shown, state)
            return
        with root.opened(path, os.O_RDONLY | os.O_DIRECTORY) as folder:
            yield from _inside(folder, shown, recursive, 0)


def _state(root: rooted.Root, path: str) -> os.stat_result:
    try:
        state = root.state(path)
    except OSError as exc:
        raise exception.NotFoundError(f"{path!r} cannot be opened: {exc.strerror}") from None
    if state is None:
        raise missing(path)
    return state


def missing(path: str) -> exception.NotFoundError:
    return exception.NotFoundError(f"there is no file or folder {path!r}")


def _inside(folder: int, shown: str, recursive: bool, depth: int) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        names = sorted(found, key=lambda entry: entry.name)
    for entry in names:
        path = f"{shown}/{entry.name}" if shown else entry.name
        try:
            state = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # in a folder that others write to, it was removed meanwhile
        yield _entry(path, state)
        if recursive and stat.S_ISDIR(state.st_mode) and depth < _DEPTH:
            try:
                inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                yield from _inside(inner, path, recursive, depth + 1)
            finally:
                os.close(inner)


def _entry(path: str, state: os.stat_result) -> Entry:
    return Entry(path, _KINDS.get(stat.S_IFMT(state.st_mode), "?"), int(state.st_mtime), state.st_size)


def opened(view: Path, path: str) -> tuple[int, str]:
    """A descriptor of a file, and its path with all links followed. Raises ``NotFoundError``, ``InvalidError``."""
    with rooted.at(view) as root:
        state = _state(root, path)
        if stat.S_ISDIR(state.st_mode):
            raise exception.InvalidError(f"{path!r} is a folder")
        if not stat.S_ISREG(state.st_mode):
            raise exception.InvalidError(f"{path!r} is no plain file")
        try:
            with root.opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise exception.InvalidError(f"{path!r} is no plain file any more")
                kept = os.dup(descriptor)
        except OSError as exc:
            raise exception.NotFoundError(f"{path!r} cannot be opened: {exc.strerror}") from None
    real = os.readlink(f"/proc/self/fd/{kept}")  # noqa: PTH115
    return kept, real.removeprefix(f"{view}/")


Small = tuple[int, bytes | None]
"""Which one of some files, and all its bytes; None where it is no file, or has too many."""


def gathered(
    view: Path, paths: Sequence[bytes], most: int, check: Callable[[str, str, bytes], None]
) -> Iterator[Small]:
    """The bytes of some files that have at most ``most`` each. ``check`` is told where each really lies, its path, and
    what is about to be given out."""
    for number, raw in enumerate(paths):
        path = os.fsdecode(raw)
        try:
            descriptor, real = opened(view, path)
        except (exception.NotFoundError, exception.InvalidError):
            yield number, None
            continue
        with os.fdopen(descriptor, "rb", 0) as file:
            data = _small(file, most)
        if data is None:
            yield number, None
        else:
            check(real, path, data)
            yield number, data


def _small(file: BinaryIO, most: int) -> bytes | None:
    """All bytes of a file; None where there are more than ``most``, or the disk does not give them."""
    try:
        data = file.read(most + 1)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        return None
    return data if len(data) <= most else None


Check = Callable[[int, bytes], None]
"""Is told of a piece of a file, with its number, before it is given out, and raises what speaks against that."""


class _Good(NamedTuple):
    """A file that was as its index says. ``pieces``: digests of its pieces, one after the other."""

    mark: tuple[int, int, int]
    pieces: bytes


class Checked:
    """Which files of layers are known to be as their index says, for as long as their times stay the same. A bit that
    the disk loses changes no times: so what is given out is compared with what was found then, piece by piece."""

    def __init__(self, layers: layer_store.Layers) -> None:
        self._layers = layers
        self._good: dict[tuple[str, str], _Good] = {}

    def check(self, layer_ids: Sequence[str], path: str, shown: str) -> Check:
        """Raises ``DataLossError``, which names the path, if the file is not what it was when it was committed. So does
        what it returns, for a piece of the file that is not."""
        layer_id = self._holding(layer_ids, path)
        if layer_id is None:
            return lambda number, data: None
        file = self._layers.files(layer_id) / path
        state = file.stat(follow_symlinks=False)
        mark = (state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
        good = self._good.get((layer_id, path))
        if good is None or good.mark != mark:
            with file.open("rb") as source:
                good = _Good(mark, _compared(source, self._layers.index(layer_id).get(path), shown))
            if len(self._good) >= _REMEMBERED:
                self._good.clear()
            self._good[layer_id, path] = good
        pieces = good.pieces

        def check_piece(number: int, data: bytes) -> None:
            if _short(data) != pieces[number * _SHORT : (number + 1) * _SHORT]:
                self._good.pop((layer_id, path), None)
                raise damaged(shown)

        return check_piece

    def check_bytes(self, layer_ids: Sequence[str], path: str, shown: str, data: bytes) -> None:
        """The same of bytes that were read: these are looked at, each time."""
        layer_id = self._holding(layer_ids, path)
        compare([data], self._layers.index(layer_id).get(path) if layer_id is not None else None, shown)

    def _holding(self, layer_ids: Sequence[str], path: str) -> str | None:
        """The layer whose file is seen."""
        return next((one for one in reversed(layer_ids) if os.path.lexists(f"{self._layers.files(one)}/{path}")), None)


def _short(piece: bytes) -> bytes:
    return blake3.blake3(piece).digest(_SHORT)


def _compared(source: BinaryIO, wanted: tuple[str, int] | None, shown: str) -> bytes:
    """Digests of a file's pieces, of which all is compared. Raises ``DataLossError``."""
    found = bytearray()

    def pieces() -> Iterator[bytes]:
        while piece := source.read(PIECE):
            found.extend(_short(piece))
            yield piece

    compare(pieces(), wanted, shown)
    return bytes(found)


def compare(pieces: Iterable[bytes], wanted: tuple[str, int] | None, shown: str) -> None:
    digest = digests.Reading(wanted[0] if wanted is not None else digests.WHOLE, blake3.blake3)
    for piece in pieces:
        digest.update(piece)
    if wanted is None or digest.digest() != wanted[0]:
        raise damaged(shown)


def damaged(shown: str) -> exception.DataLossError:
    return exception.DataLossError(
        f"the content of {shown!r} is damaged: it is no longer what was committed",
        hint="Write the file again, or restore an earlier version: `windlass volume history`.",
    )
