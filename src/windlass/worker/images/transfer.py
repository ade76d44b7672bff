"""Copies files into the tree of an image, as its own root would: a program of the worker, one for each copy.

    order (JSON) on standard input ──► stack the images, in a mount namespace that ends with this process
                                   ──► become root of a container's user namespace ──► copy ──► exit 0
                                                                        else exit 1, the reason on standard output

Images come from anywhere, so nothing here follows a path of theirs by itself: ``rooted`` resolves all of them within
their tree. Needs nothing of the image: neither a shell nor tar.
"""
from __future__ import annotations

import contextlib
import json
import os
import posixpath
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from windlass import exception
from windlass.kit import wildcard
from windlass.worker import linux, overlay
from windlass.worker.images import owners, rooted

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_CHUNK = 16 * 1024 * 1024
_DEEPEST = 20_000  # more than the folders of any path that the kernel takes


class Order(TypedDict):
    """What to copy. Paths but ``sources`` and ``path`` are the worker's; ``path`` is absolute within the image.

    ``tree``: the folder that ``sources`` are in, or "" for the image that ``layers`` make (bottom first). ``place``: an
    empty folder on the file system of ``upper``. ``namespace``: of users, to enter; "" for none. ``mode``: -1 for each
    file's own.
    """

    namespace: str
    place: str
    lowers: list[str]
    upper: str
    tree: str
    layers: list[str]
    sources: list[str]
    path: str
    owner: str
    mode: int


def main() -> None:
    """Carry out the order on standard input."""
    linux.die_with_parent()
    order: Order = json.load(sys.stdin)
    sys.setrecursionlimit(_DEEPEST)
    try:
        with _mounted(order) as (source, target):
            carry_out(order, source, target)
    except exception.Error as exc:
        _end(str(exc))
    except OSError as exc:
        _end(f"{exc.filename}: {exc.strerror}" if isinstance(exc.filename, str) else str(exc))


def _end(reason: str) -> None:
    print(reason, flush=True)
    sys.exit(1)


@contextlib.contextmanager
def _mounted(order: Order) -> Iterator[tuple[rooted.Root, rooted.Root]]:
    place = Path(order["place"])
    folders = {name: place / name for name in ("work", "empty", "bare", "from", "to")}
    for folder in folders.values():
        folder.mkdir()
    linux.unshare(linux.NEWNS)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    upper, lowers = Path(order["upper"]), [folders["empty"], *map(Path, order["lowers"])]
    overlay.mount(folders["to"], lowers=lowers, upper=upper, work=folders["work"])
    if not order["tree"]:
        layers = [folders["empty"], folders["bare"], *map(Path, order["layers"])]
        overlay.mount(folders["from"], lowers=layers)
    with rooted.at(Path(order["tree"]) if order["tree"] else folders["from"]) as source, rooted.at(folders["to"]) as to:
        if order["namespace"]:
            _become(Path(order["namespace"]))
        yield source, to


def _become(namespace: Path) -> None:
    """Leave all power over files that are not a container's."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    linux.setns(descriptor, linux.NEWUSER)
    os.close(descriptor)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    linux.die_with_parent()


def carry_out(order: Order, source: rooted.Root, target: rooted.Root) -> None:
    """Copy from ``source`` into ``target``. Raises ``InvalidError`` or ``OSError``."""
    os.umask(0)
    owner = owners.owner(order["owner"], target) if order["owner"] else None
    copier = _Copier(source, target, _Wanted(owner, order["mode"]))
    found = [path for given in order["sources"] for path in _matches(given, source)]
    path, is_folder = order["path"], order["path"].endswith("/")
    if len(found) > 1 and not is_folder:
        raise exception.InvalidError(f"{len(found)} sources need a folder to go to: end {path} in a slash")
    if not order["sources"]:
        copier.folder(path)
    for one in found:
        copier.copy(one, path, into=is_folder)


def _matches(given: str, source: rooted.Root) -> list[str]:
    path = posixpath.normpath(given.lstrip("/") or ".")
    try:
        found = wildcard.expand("" if path == "." else path, source.names)
    except ValueError as exc:
        raise exception.InvalidError(str(exc)) from None
    if not found:
        raise exception.InvalidError(f"no file matches {given}")
    return found


class _Wanted(NamedTuple):
    """Instead of what files have: ``owner`` (user and group), ``mode`` (-1: their own)."""

    owner: tuple[int, int] | None
    mode: int


class _Copier:
    def __init__(self, source: rooted.Root, target: rooted.Root, wanted: _Wanted) -> None:
        self._source = source
        self._target = target
        self._wanted = wanted
        self._seen: dict[tuple[int, int], str] = {}  # files with several names

    def folder(self, path: str) -> None:
        """Let ``path`` exist."""
        for made in self._target.make(path):
            with self._target.opened(made) as descriptor:
                self._dress(descriptor, None)
        state = self._target.state(path)
        if state is None or not stat.S_ISDIR(state.st_mode):
            raise exception.InvalidError(f"{path} is no folder in the image")

    def copy(self, one: str, path: str, *, into: bool) -> None:
        """Copy a source. ``into``: a file goes into ``path``, and not in its place."""
        try:
            with self._source.opened(one, os.O_PATH) as descriptor:
                state = os.fstat(descriptor)
        except FileNotFoundError:
            raise exception.InvalidError(f"/{one.lstrip('/')} does not exist where it is copied from") from None
        if stat.S_ISDIR(state.st_mode):
            self.folder(path)
            self._merge(one, path)
            return
        there = self._target.state(path)
        if into or (there is not None and stat.S_ISDIR(there.st_mode)):
            path = posixpath.join(path, posixpath.basename(one))
        parent, name = posixpath.split(posixpath.normpath(path))
        self.folder(parent)
        with self._target.opened(parent, _FOLDER) as folder:
            with self._source.opened(one, os.O_RDONLY | os.O_NONBLOCK) as like:
                self._file(like, folder, parent, name)

    def _merge(self, one: str, path: str) -> None:
        """What the folder ``one`` holds goes into the folder ``path``; folders that are there stay as they are."""
        with self._source.opened(one, _FOLDER) as here, self._target.opened(path, _FOLDER) as there:
            with os.scandir(here) as entries:
                kinds = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
            for name, state in kinds:
                if not stat.S_ISDIR(state.st_mode):
                    self._entry(here, there, path, name, state)
        for name in [name for name, state in kinds if stat.S_ISDIR(state.st_mode)]:
            inside, goal = posixpath.join(one, name), posixpath.join(path, name)
            is_new = bool(self._target.make(goal))
            self.folder(goal)
            self._merge(inside, goal)
            if is_new:
                with self._target.opened(goal) as made, self._source.opened(inside) as like:
                    self._dress(made, like)

    def _entry(self, here: int, there: int, path: str, name: str, state: os.stat_result) -> None:
        """What is no folder goes from the folder ``here`` into ``there``, which is ``path`` in the image."""
        if stat.S_ISREG(state.st_mode):
            like = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            try:
                self._file(like, there, path, name)
            finally:
                os.close(like)
        elif stat.S_ISLNK(state.st_mode):
            _clear(there, path, name)
            os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
            uid, gid = self._wanted.owner or (state.st_uid, state.st_gid)
            os.chown(name, uid, gid, dir_fd=there, follow_symlinks=False)
        elif stat.S_ISFIFO(state.st_mode):
            _clear(there, path, name)
            os.mkfifo(name, dir_fd=there)
        elif not stat.S_ISSOCK(state.st_mode):
            raise exception.InvalidError(f"{posixpath.join(path, name)} would be a device, which cannot be copied")

    def _file(self, like: int, there: int, path: str, name: str) -> None:
        state = os.fstat(like)
        if not stat.S_ISREG(state.st_mode):
            raise exception.InvalidError(f"{posixpath.join(path, name)} would be neither file nor folder")
        _clear(there, path, name)
        key = (state.st_dev, state.st_ino)
        if state.st_nlink > 1 and key in self._seen:
            self._link(self._seen[key], there, name)
            return
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=there)
        try:
            _pour(like, made)
            self._dress(made, like)
        finally:
            os.close(made)
        if state.st_nlink > 1:
            self._seen[key] = posixpath.join(path, name)

    def _link(self, first: str, folder: int, name: str) -> None:
        parent, known = posixpath.split(first)
        with self._target.opened(parent, _FOLDER) as there:
            os.link(known, name, src_dir_fd=there, dst_dir_fd=folder, follow_symlinks=False)

    def _dress(self, made: int, like: int | None) -> None:
        """Owner, permissions, attributes and time of a new file or folder: as wanted, else as ``like`` has them."""
        state = os.fstat(like) if like is not None else None
        owner = self._wanted.owner or ((state.st_uid, state.st_gid) if state is not None else (0, 0))
        os.fchown(made, *owner)
        if self._wanted.mode >= 0 and state is not None:
            os.fchmod(made, self._wanted.mode)
        elif state is not None:
            os.fchmod(made, stat.S_IMODE(state.st_mode))
        else:
            os.fchmod(made, 0o755)
        if like is not None and state is not None:
            _attributes(like, made)
            os.utime(made, ns=(state.st_mtime_ns, state.st_mtime_ns))


def _clear(folder: int, path: str, name: str) -> None:
    """Take the file or link called ``name`` out of the folder, which is ``path`` in the image."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        raise exception.InvalidError(f"{posixpath.join(path, name)} is a folder in the image, not a file") from None


def _attributes(like: int, made: int) -> None:
    for name in os.listxattr(like):
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
            os.setxattr(made, name, os.getxattr(like, name))


def _pour(source: int, target: int) -> None:
    """All bytes, by the kernel where it can: no copy at all on file systems that share blocks."""
    try:
        while os.copy_file_range(source, target, _CHUNK):
            pass
    except OSError:
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        while data := os.read(source, _CHUNK):
            view: Any = memoryview(data)
            while view:
                view = view[os.write(target, view) :]


if __name__ == "__main__":
    main()
