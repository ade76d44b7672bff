"""What a container changed in a volume becomes a layer.

The container's changes are an upper folder of overlayfs: files, folders, links, and whiteouts. Where nobody writes to
it any more (*frozen*), its files are linked into the layer; where somebody may, they are copied, and what was taken is
remembered (``Seen``), so that the next time only what differs is taken. All of it belongs to a hostile user: names are
walked by descriptors, links are never followed, and only plain files, folders and links are taken.
"""
from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import blake3

from windlass import exception
from windlass.kit import digests

OPAQUE = "user.overlay.opaque"
DEPTH = 256
LENGTH = 3584
"""Bytes of a path in a volume. The kernel takes 4,096 of one, with that of our folder before it; and what lies deeper,
where only a program comes that goes folder by folder, could be neither compared nor merged."""
_OURS = "user.overlay."
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1024 * 1024
_ZEROS = bytes(_CHUNK)
_BLURRED = 50_000_000  # nanoseconds: a file changed so short before may change again without a trace in its times
_RESERVE = 64 * 1024 * 1024  # bytes that copies leave free
_RESTLESS = 10.0  # seconds
WHITEOUT, FOLDER, LINK, FILE, OTHER = "w", "d", "l", "f", "?"


class Seen(NamedTuple):
    """How an entry of an upper folder was when it was taken. ``digest``: of a file, or where a link leads. ``names``:
    how many a file had; 0 where nobody counted."""

    kind: str
    ino: int
    size: int
    mtime: int
    ctime: int
    mode: int
    uid: int
    gid: int
    digest: str
    names: int = 0


class Taken(NamedTuple):
    """``files``: digest and size of each. ``seen``: everything that is in the upper folder now."""

    files: dict[str, tuple[str, int]]
    puts: list[str]
    clears: list[str]
    seen: dict[str, Seen]


def take(upper: Path, target: Path, seen: Mapping[str, Seen], *, frozen: bool, patient: bool = False) -> Taken:
    """Make ``target`` (an empty folder) the layer of what ``upper`` has and ``seen`` has not.

    ``patient``: leave large files alone that are being written right now.

    Raises:
        InvalidError: folders are nested too deep, or a path is too long.
    """
    taking = _Taking(target, seen, frozen=frozen, patient=patient)
    source, sink = os.open(upper, _DIRECTORY), os.open(target, _DIRECTORY)
    try:
        state = os.fstat(source)
        taking.folder(source, sink, "", 0)
        _dress(sink, state)
    finally:
        os.close(source)
        os.close(sink)
    return Taken(taking.files, taking.puts, taking.clears, taking.now)


class _Copied(NamedTuple):
    """``state``: of the file, when it was copied to ``path`` of the layer."""

    path: str
    digest: str
    size: int
    state: os.stat_result


class _Taking:
    def __init__(self, target: Path, seen: Mapping[str, Seen], *, frozen: bool, patient: bool) -> None:
        self._target = target
        self._copies: dict[tuple[int, int], _Copied] = {}
        """Of files with several names, by inode."""
        self._linked: defaultdict[tuple[int, int], int] = defaultdict(int)
        """Names that a file has in the layer, besides its own."""
        self._seen = seen
        self._frozen = frozen
        self._patient = patient
        self._clock = time.time_ns()
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        for path in seen:
            self._children[path.rpartition("/")[0]].append(path.rpartition("/")[2])
        self.files: dict[str, tuple[str, int]] = {}
        self.puts: list[str] = []
        self.clears: list[str] = []
        self.now: dict[str, Seen] = {}

    def folder(self, source: int, sink: int, path: str, depth: int) -> bool:
        """Take what is in a folder; whether there was anything."""
        check_depth(path, depth)
        names = sorted(os.listdir(source))
        any_taken = False
        for name in names:
            try:
                state = os.lstat(name, dir_fd=source)
                taken = self._entry(source, sink, name, f"{path}/{name}" if path else name, state, depth)
                any_taken = taken or any_taken
            except FileNotFoundError:  # gone meanwhile
                continue
        for name in set(self._children.get(path, ())).difference(names):
            inner = f"{path}/{name}" if path else name
            if self._seen[inner].kind != WHITEOUT:
                self._whiteout(sink, name, inner)
                any_taken = True
        return any_taken

    def _entry(self, source: int, sink: int, name: str, path: str, state: os.stat_result, depth: int) -> bool:
        kind = _kind(state)
        if kind == OTHER:
            return False
        check_length(path)
        if kind == FOLDER:
            return self._folder(source, sink, name, path, depth)
        before = self._seen.get(path)
        found = _seen(kind, state, before.digest if before is not None else "")
        if found == before:
            self.now[path] = found
            return False
        if kind == WHITEOUT:
            self.now[path] = found
            if before is not None and before.kind == WHITEOUT:
                return False
            self._whiteout(sink, name, path)
            return True
        if kind == LINK:
            return self._link(source, sink, name, path, state)
        return self._file(source, sink, name, path, before)

    def _folder(self, source: int, sink: int, name: str, path: str, depth: int) -> bool:
        inner = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            state = os.fstat(inner)
            opaque = _is_opaque(inner)
            found = _seen(FOLDER, state, "opaque" if opaque else "")._replace(size=0, mtime=0, ctime=0)
            before = self._seen.get(path)
            new = found != before
            os.mkdir(name, 0o700, dir_fd=sink)
            target = os.open(name, _DIRECTORY, dir_fd=sink)
            try:
                inside = self.folder(inner, target, path, depth + 1)
                if new and opaque:
                    os.setxattr(target, OPAQUE, b"y")
                copy_attributes(inner, target)
                _dress(target, state)
            finally:
                os.close(target)
            self.now[path] = found
            if not new and not inside:
                os.rmdir(name, dir_fd=sink)
                return False
            if new and opaque:
                self.clears.append(path)
            self.puts.append(path)
            return True
        finally:
            os.close(inner)

    def _whiteout(self, sink: int, name: str, path: str) -> None:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=sink)
        self.clears.append(path)

    def _link(self, source: int, sink: int, name: str, path: str, state: os.stat_result) -> bool:
        goal = os.readlink(name, dir_fd=source)
        os.symlink(goal, name, dir_fd=sink)
        os.chown(name, state.st_uid, state.st_gid, dir_fd=sink, follow_symlinks=False)
        os.utime(name, ns=(state.st_mtime_ns, state.st_mtime_ns), dir_fd=sink, follow_symlinks=False)
        self.now[path] = _seen(LINK, state, goal)
        self.puts.append(path)
        return True

    def _file(self, source: int, sink: int, name: str, path: str, before: Seen | None) -> bool:
        descriptor = os.open(name, _FILE, dir_fd=source)
        try:
            state = os.fstat(descriptor)
            inode = state.st_dev, state.st_ino
            names = state.st_nlink - self._linked[inode]
            if not stat.S_ISREG(state.st_mode):
                return False
            if self._patient and self._is_restless(state):
                if before is not None:
                    self.now[path] = before._replace(ctime=0)
                return False
            if self._frozen:
                os.link(name, name, src_dir_fd=source, dst_dir_fd=sink, follow_symlinks=False)
                self._linked[inode] += 1
                digest, size = _digest(descriptor)
            else:
                digest, size, state = self._copy(descriptor, sink, name, path)
        finally:
            os.close(descriptor)
        found = _seen(FILE, state, digest)._replace(names=names)
        if self._clock - found.ctime < _BLURRED:
            found = found._replace(ctime=0)
        self.now[path] = found
        if before is not None and _is_same(before, found):
            os.unlink(name, dir_fd=sink)
            self._linked[inode] -= self._frozen
            self._copies.pop(inode, None)
            return False
        self.files[path] = (digest, size)
        self.puts.append(path)
        return True

    def _copy(self, descriptor: int, sink: int, name: str, path: str) -> tuple[str, int, os.stat_result]:
        """Copy a file, or link the copy that was made for another of its names; its state when it was copied."""
        now = os.fstat(descriptor)
        inode = now.st_dev, now.st_ino
        if (known := self._copies.get(inode)) is not None:
            with contextlib.suppress(OSError):  # it lies deeper than a path can say, or has too many names
                os.link(self._target / known.path, name, dst_dir_fd=sink, follow_symlinks=False)
                return known.digest, known.size, known.state
        digest, size = _copied(descriptor, sink, name)
        state = os.fstat(descriptor)
        if state.st_nlink > 1:
            self._copies[inode] = _Copied(path, digest, size, state)
        return digest, size, state

    def _is_restless(self, state: os.stat_result) -> bool:
        return state.st_size > digests.LARGE and self._clock / 1e9 - state.st_mtime < _RESTLESS


def check_paths(upper: Path) -> None:
    """Raise ``InvalidError`` where ``take`` would: what is frozen stays as it is, whatever the container removes."""
    source = os.open(upper, _DIRECTORY)
    try:
        _check_folder(source, "", 0)
    finally:
        os.close(source)


def _check_folder(source: int, path: str, depth: int) -> None:
    check_depth(path, depth)
    with os.scandir(source) as found:
        for entry in found:
            inner, is_folder = f"{path}/{entry.name}" if path else entry.name, entry.is_dir(follow_symlinks=False)
            if is_folder or entry.is_file(follow_symlinks=False) or entry.is_symlink():
                check_length(inner)
            if not is_folder:
                continue
            try:
                folder = os.open(entry.name, _DIRECTORY, dir_fd=source)
            except (FileNotFoundError, NotADirectoryError):  # gone meanwhile
                continue
            try:
                _check_folder(folder, inner, depth + 1)
            finally:
                os.close(folder)


def check_depth(path: str, depth: int) -> None:
    """Raise ``InvalidError`` for a folder that lies too deep."""
    if depth > DEPTH:
        raise exception.InvalidError(f"folders of a volume may be nested {DEPTH} deep; {path[:80]!r}… is deeper")


def check_length(path: str) -> None:
    """Raise ``InvalidError`` for a path that is too long."""
    if len(path) * 4 > LENGTH and len(os.fsencode(path)) > LENGTH:
        raise exception.InvalidError(f"paths of a volume may have {LENGTH:,} bytes; {path[:80]!r}… has more")


def _kind(state: os.stat_result) -> str:
    if stat.S_ISDIR(state.st_mode):
        return FOLDER
    if stat.S_ISREG(state.st_mode):
        return FILE
    if stat.S_ISLNK(state.st_mode):
        return LINK
    return WHITEOUT if stat.S_ISCHR(state.st_mode) and state.st_rdev == 0 else OTHER


def _seen(kind: str, state: os.stat_result, digest: str) -> Seen:
    return Seen(
        kind, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, stat.S_IMODE(state.st_mode),
        state.st_uid, state.st_gid, digest, state.st_nlink if kind == FILE else 0,
    )  # fmt: skip


def _is_same(before: Seen, found: Seen) -> bool:
    """Whether a file need not be put again. One that got another name is: or that would be a file of its own."""
    has_more = 0 < before.names < found.names
    return not has_more and before._replace(ctime=0, ino=0, names=0) == found._replace(ctime=0, ino=0, names=0)


def _is_opaque(descriptor: int) -> bool:
    try:
        return os.getxattr(descriptor, OPAQUE) == b"y"
    except OSError:
        return False


def _hash(size: int) -> digests.Reading:
    """For a file of that size. What comes from outside has digests of the same kinds, so who holds both can tell."""
    return digests.Reading(digests.BLAKE3 if size >= digests.LARGE else digests.WHOLE, blake3.blake3)


def _digest(descriptor: int) -> tuple[str, int]:
    state, size = _hash(os.fstat(descriptor).st_size), 0
    while piece := os.read(descriptor, _CHUNK):
        state.update(piece)
        size += len(piece)
    return state.digest(), size


def _copied(descriptor: int, sink: int, name: str) -> tuple[str, int]:
    """Copy a file that may be written meanwhile: what arrived is what the digest is of."""
    before = os.fstat(descriptor)
    target = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=sink)
    try:
        state, size = _hash(before.st_size), 0
        while piece := os.read(descriptor, _CHUNK):
            state.update(piece)
            size += len(piece)
            if piece == _ZEROS[: len(piece)]:  # a hole stays one
                os.ftruncate(target, size)
                os.lseek(target, size, os.SEEK_SET)
            else:
                _check_space(target)
                _write(target, piece)
        copy_attributes(descriptor, target)
        _dress(target, before)
    finally:
        os.close(target)
    return state.digest(), size


def _write(descriptor: int, data: bytes) -> None:
    """All of it: the kernel may take less at a time."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _check_space(descriptor: int) -> None:
    """A copy never takes the last bytes: the server needs some for what it has to acknowledge."""
    space = os.fstatvfs(descriptor)
    if space.f_bavail * space.f_frsize < _RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def copy_attributes(source: int | Path, target: int | Path) -> None:
    """Those of the user's that are not overlayfs's own."""
    for name in os.listxattr(source):
        if name.startswith("user.") and not name.startswith(_OURS):
            with contextlib.suppress(OSError):
                os.setxattr(target, name, os.getxattr(source, name))


def _dress(descriptor: int, like: os.stat_result) -> None:
    os.chown(descriptor, like.st_uid, like.st_gid)
    os.chmod(descriptor, stat.S_IMODE(like.st_mode))
    try:
        os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
    except OSError as exc:
        if exc.errno != errno.EPERM:
            raise
