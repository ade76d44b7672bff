"""Unpacks one layer of a registry image into a folder in the format of overlayfs.

    python -m windlass.worker.images.unpack TARGET SHA256 LIMIT NAMESPACE     the archive on standard input

A program of its own: it holds nobody up and can be killed. It believes nothing: it becomes the root of a container (the
user namespace ``NAMESPACE``), who owns nothing but the target, makes the target its root folder, and even then walks
every name itself (``confined.py``). Its last line is JSON: {"opaque": …} or {"error": …}; lines before it are notes.

* whiteouts become what overlayfs takes for one: a character device 0/0, or the mark of an opaque folder
* a later entry takes the place of an earlier one of the same name, as tar does
* device nodes are left out, for no container may open them; kept extended attributes are ``user.*`` and capabilities
"""
from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from windlass.worker import linux
from windlass.worker.images import confined

Refused = confined.Refused

_WHITEOUT = ".wh."
_AUFS = ".wh..wh."
_OPAQUE = ".wh..wh..opq"
_HIGHEST_ID = 65534
_XATTR = "SCHILY.xattr."
_OVERLAY = "user.overlay."
_CHUNK = 1024 * 1024
_LARGEST_HEADER = 16 * 1024 * 1024
_MEMORY = 2 * 1024 * 1024 * 1024
_TIMES = (-(2**31), 2**34 - 1)  # seconds that ext4 can hold
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacked(NamedTuple):
    """``digest``: the hex SHA-256 of the archive. ``opaque``: the layer hides all below. ``skipped`` device nodes."""

    digest: str
    opaque: bool
    skipped: int


def unpack(archive: io.BufferedIOBase, root: int, *, limit: int) -> Unpacked:
    """Unpack ``archive`` into the folder of descriptor ``root``; at most ``limit`` bytes of files.

    Raises:
        Refused: the archive is broken or asks for what it must not have. Part of it may lie in the folder by then.
    """
    reader = _Reader(archive)
    layer = _Layer(root, reader, limit)
    try:
        # Encodings are named: the machine's must not matter.
        with tarfile.TarFile(fileobj=reader, encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[arg-type]
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                layer.add(info)
        layer.finish()
        reader.finish()
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError) as exc:
        raise Refused(f"the archive is broken: {exc or type(exc).__name__}") from exc
    except OSError as exc:
        raise Refused(f"{layer.current!r} could not be written: {exc.strerror or exc}") from exc
    finally:
        layer.close()
    return Unpacked(reader.digest, layer.opaque, layer.skipped)


class _Reader:
    """The archive, read once from its begin to its end; every byte counts for the digest."""

    def __init__(self, archive: io.BufferedIOBase) -> None:
        self._archive = archive
        self._hash = hashlib.sha256()
        self._at = 0
        self._last = b""

    def read(self, size: int) -> bytes:
        """For headers."""
        if not 0 <= size <= _LARGEST_HEADER:
            raise Refused("a header of the archive has an impossible size")
        self._last = self._take(size)
        return self._last

    def tell(self) -> int:
        return self._at

    def seek(self, place: int) -> None:
        if place < self._at:
            raise Refused("a header of the archive points backwards")
        while self._at < place:
            if not self._take(min(_CHUNK, place - self._at)):
                raise Refused("the archive ends too early")

    def copy(self, size: int, file: int, place: int | None = None) -> None:
        """Write the next ``size`` bytes into ``file``."""
        if place is not None:
            os.lseek(file, place, os.SEEK_SET)
        while size:
            data = memoryview(self._take(min(_CHUNK, size)))
            if not data:
                raise Refused("the archive ends too early")
            size -= len(data)
            while data:
                data = data[os.write(file, data) :]

    def finish(self) -> None:
        """Read on to the end, where only zeros may be: anything else is a header that could not be read."""
        data = self._last
        while True:
            if data.count(0) != len(data):
                raise Refused("a header of the archive is damaged")
            data = self._take(_CHUNK)
            if not data:
                return

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def _take(self, size: int) -> bytes:
        data = self._archive.read(size)
        self._hash.update(data)
        self._at += len(data)
        return data


class _Layer:
    """The folder that entries are put into, one after the other."""

    def __init__(self, root: int, reader: _Reader, limit: int) -> None:
        self._root = root
        self._folder = confined.Folder(root)
        self._reader = reader
        self._left = limit
        self._times: dict[confined.Names, int] = {}  # of folders: what is put into them would change it
        self.opaque = False
        self.skipped = 0
        self.current = ""

    def add(self, info: tarfile.TarInfo) -> None:
        self.current = info.name[:100]
        parts = confined.names(info.name)
        for owner in (info.uid, info.gid):
            if not 0 <= owner <= _HIGHEST_ID:
                raise Refused(f"{self.current!r} belongs to the id {owner}; containers have ids up to {_HIGHEST_ID}")
        special = next((part for part in parts if part.startswith(_WHITEOUT)), None)
        if special is not None:
            self._special(parts, special)
        elif info.isdir():
            self._directory(parts, info)
        elif not parts:
            raise Refused("the archive's own folder is none")
        elif info.ischr() or info.isblk():
            self.skipped += 1
        else:
            self._other(parts, info)

    def _other(self, parts: confined.Names, info: tarfile.TarInfo) -> None:
        parent, _ = self._folder.enter(parts[:-1])
        if info.isreg():
            self._file(parent, parts[-1], info)
        elif info.issym():
            self._symlink(parent, parts[-1], info)
        elif info.islnk():
            self._hard_link(parent, parts[-1], info)
        elif info.isfifo():
            self._again(parent, parts[-1], lambda: os.mkfifo(parts[-1], 0o600, dir_fd=parent))
            os.chown(parts[-1], info.uid, info.gid, dir_fd=parent, follow_symlinks=False)
            os.chmod(parts[-1], stat.S_IMODE(info.mode), dir_fd=parent)
            os.utime(parts[-1], ns=_times(info), dir_fd=parent, follow_symlinks=False)
        else:
            raise Refused(f"{self.current!r} is of an unknown type")

    def _special(self, parts: confined.Names, special: str) -> None:
        if parts[-1] == _OPAQUE and special == _OPAQUE:
            folder, at = self._folder.enter(parts[:-1])
            os.setxattr(folder, confined.OPAQUE, b"y")
            self.opaque = self.opaque or not at
            return
        if special.startswith(_AUFS):
            return  # notes of an old storage driver to itself
        hidden = special[len(_WHITEOUT) :]
        if parts[-1] != special or hidden in ("", ".", ".."):
            raise Refused(f"{self.current!r} removes nothing that could have a name")
        self._hide(self._folder.enter(parts[:-1])[0], hidden)

    def _hide(self, parent: int, name: str) -> None:
        """Remove ``name`` of the layers below; what this layer puts in its place stays."""
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                with _opened(name, parent) as folder:
                    os.setxattr(folder, confined.OPAQUE, b"y")

    def _directory(self, parts: confined.Names, info: tarfile.TarInfo) -> None:
        if not parts:
            self._dress(self._root, info)
            self._times[()] = _times(info)[0]
            return
        parent, above = self._folder.enter(parts[:-1])
        fresh = hiding = False
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(parts[-1], dir_fd=parent).st_mode):
                hiding, fresh = self._folder.clear(parent, parts[-1]), True
        if fresh:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        with _opened(parts[-1], parent) as folder:
            self._dress(folder, info)
            if hiding:
                os.setxattr(folder, confined.OPAQUE, b"y")
        at = (*above, parts[-1])
        self._times[at] = _times(info)[0]

    def _file(self, parent: int, name: str, info: tarfile.TarInfo) -> None:
        self._left -= info.size
        if info.size < 0 or self._left < 0:
            raise Refused(f"{self.current!r} makes the layer larger than this machine's disk has room")
        file = self._again(parent, name, lambda: os.open(name, _NEW, 0o600, dir_fd=parent))
        try:
            self._reader.seek(info.offset_data)
            self._fill(file, info)
            self._dress(file, info)
            os.utime(file, ns=_times(info))
        finally:
            os.close(file)

    def _fill(self, file: int, info: tarfile.TarInfo) -> None:
        if info.sparse is None:
            self._reader.copy(info.size, file)
            return
        pieces: list[tuple[int, int]] = info.sparse  # type: ignore[assignment]  # not as the stubs say
        for place, size in pieces:
            if place < 0 or size < 0 or place + size > info.size:
                raise Refused(f"{self.current!r} has impossible holes")
            self._reader.copy(size, file, place)
        os.ftruncate(file, info.size)

    def _symlink(self, parent: int, name: str, info: tarfile.TarInfo) -> None:
        self._again(parent, name, lambda: os.symlink(info.linkname, name, dir_fd=parent))
        os.chown(name, info.uid, info.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=_times(info), dir_fd=parent, follow_symlinks=False)

    def _hard_link(self, parent: int, name: str, info: tarfile.TarInfo) -> None:
        goal = confined.names(info.linkname, "target of a hard link")
        if not goal:
            raise Refused(f"{self.current!r} is a hard link to a folder")
        here = os.dup(parent)
        try:
            there, _ = self._folder.enter(goal[:-1], make=False)
            state = os.lstat(goal[-1], dir_fd=there)
            if stat.S_ISDIR(state.st_mode) or confined.is_whiteout(state):
                raise Refused(f"{self.current!r} is a hard link to what is no file")
            source = os.dup(there)
            try:
                self._link(source, goal[-1], here, name, state)
            finally:
                os.close(source)
        except FileNotFoundError:
            raise Refused(f"{self.current!r} is a hard link to {info.linkname[:100]!r}, which does not exist") from None
        finally:
            os.close(here)

    def _link(self, source: int, goal: str, here: int, name: str, state: os.stat_result) -> None:
        try:
            os.link(goal, name, src_dir_fd=source, dst_dir_fd=here, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(os.lstat(name, dir_fd=here), state):
                return
            self._folder.close()
            confined.Folder(here).clear(here, name)
            os.link(goal, name, src_dir_fd=source, dst_dir_fd=here, follow_symlinks=False)

    def _again(self, parent: int, name: str, make: Callable[[], int | None]) -> int:
        """``make()``, and once more after removing what is in its way."""
        try:
            return make() or 0
        except FileExistsError:
            self._folder.clear(parent, name)
            return make() or 0

    def _dress(self, opened: int, info: tarfile.TarInfo) -> None:
        """Owner first, because it takes away special bits and capabilities."""
        os.fchown(opened, info.uid, info.gid)
        os.fchmod(opened, stat.S_IMODE(info.mode))
        for key, value in info.pax_headers.items():
            name = key[len(_XATTR) :] if key.startswith(_XATTR) else ""
            if name == "security.capability" or (name.startswith("user.") and not name.startswith(_OVERLAY)):
                os.setxattr(opened, name, value.encode("utf-8", "surrogateescape"))

    def finish(self) -> None:
        for at, time in self._times.items():
            folder = self._folder.look(at)
            if folder is not None:
                os.utime(folder, ns=(time, time))

    def close(self) -> None:
        self._folder.close()


@contextmanager
def _opened(name: str, parent: int) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _times(info: tarfile.TarInfo) -> tuple[int, int]:
    seconds = info.mtime if info.mtime == info.mtime else 0  # a time may be no number
    time = int(min(max(seconds, _TIMES[0]), _TIMES[1]) * 1_000_000_000)
    return time, time


def _confine(namespace: str, target: int) -> None:
    """Become the root of a container, for whom the target is all there is."""
    if namespace:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        linux.setns(descriptor, linux.NEWUSER)
        os.close(descriptor)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    linux.die_with_parent()
    os.fchdir(target)
    os.chroot(".")


def main() -> int:
    """Unpack what comes on standard input; a last line of JSON says how it went."""
    target, digest, limit, namespace = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.umask(0)
    root = os.open(Path(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _confine(namespace, root)
        found = unpack(io.BufferedReader(io.FileIO(0, closefd=False), 256 * 1024), root, limit=int(limit))
        if found.digest != digest:
            raise Refused(f"its archive has the digest sha256:{found.digest}")
    except Refused as exc:
        print(json.dumps({"error": str(exc)}))
        return 1
    if found.skipped:
        print(f"Left out {found.skipped} device nodes")
    print(json.dumps({"opaque": found.opaque}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
