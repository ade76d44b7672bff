"""Paths in a sandbox, reached from outside: each is resolved by the kernel with the sandbox's root as the root.

``/proc/PID/root`` of process 1 is that root with all its mounts. No link leads out of it, however fast it changes
(``images.rooted``), no program of the image is needed, and nothing but plain files is opened. All of this blocks: for
threads.
"""
from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import posixpath
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from windlass import exception
from windlass.wire.messages import sandboxes as messages
from windlass.worker import spec
from windlass.worker.images import rooted

_PIECE = 8 * 1024 * 1024
_LARGEST = 5 * 1024**3
_DEPTH = 200
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
_ERRORS: dict[int, tuple[type[exception.Error], str]] = {
    errno.ENOENT: (exception.SandboxFilesystemNotFoundError, "there is no {path} in the sandbox"),
    errno.ENOTEMPTY: (exception.SandboxFilesystemDirectoryNotEmptyError, "the directory {path} is not empty"),
    errno.EISDIR: (exception.SandboxFilesystemIsADirectoryError, "{path} is a directory"),
    errno.ENOTDIR: (exception.SandboxFilesystemNotADirectoryError, "{path} is not a directory, or one above is none"),
    errno.EACCES: (exception.SandboxFilesystemPermissionError, "{path} may not be used"),
    errno.EPERM: (exception.SandboxFilesystemPermissionError, "{path} may not be used"),
    errno.EROFS: (exception.SandboxFilesystemPermissionError, "{path} is on a read-only file system"),
    # Such as /dev/shm: made by a user that this process has no number for there.
    errno.EOVERFLOW: (
        exception.SandboxFilesystemPermissionError,
        "{path} is on a file system of the sandbox's own, where only its commands can make files",
    ),
    errno.EEXIST: (exception.SandboxFilesystemPathAlreadyExistsError, "{path} exists already"),
    errno.EFBIG: (exception.SandboxFilesystemFileTooLargeError, "{path} is too large"),
    errno.ENOSPC: (exception.ResourceExhaustedError, "the disk is full: {path} was not written"),
    errno.EDQUOT: (exception.ResourceExhaustedError, "the disk is full: {path} was not written"),
}


def answer(root: Path, request: messages.FileRequest, data: bytes) -> tuple[messages.FileReply, bytes]:
    """Carry out one operation. Raises the errors of the file API."""
    path = request.get("path", "")
    if not path.startswith("/") or "\0" in path or len(path) > 4096:
        raise exception.InvalidError(f"{path[:200]!r} is no absolute path")
    act = _OPERATIONS.get(request["op"])
    if act is None:
        raise exception.UnimplementedError(f"files have no operation {request['op'][:40]!r}")
    try:
        with rooted.at(root) as tree:
            return act(tree, path, request, data)
    except OSError as exc:
        raise _translated(exc, path) from None


def _translated(exc: OSError, path: str) -> exception.Error:
    kind, text = _ERRORS.get(exc.errno or 0, (exception.SandboxFilesystemError, ""))
    return kind(text.format(path=path) if text else f"{path}: {exc.strerror or exc}")


# -- looking ----------------------------------------------------------------------------------------------------


def _stat(tree: rooted.Root, path: str, request: messages.FileRequest, data: bytes) -> tuple[Any, bytes]:
    with _itself(tree, path, follow=request.get("follow", False)) as descriptor:
        return {"entries": [_entry(descriptor, path)]}, b""


def _list(tree: rooted.Root, path: str, request: messages.FileRequest, data: bytes) -> tuple[Any, bytes]:
    found = []
    with tree.opened(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK) as folder:
        for name in sorted(os.listdir(folder)):  # noqa: PTH208
            with contextlib.suppress(FileNotFoundError):  # it may be gone by now
                inner = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    found.append(_entry(inner, posixpath.join(path, name)))
                finally:
                    os.close(inner)
    return {"entries": found}, b""


def _entry(descriptor: int, path: str) -> messages.FileEntry:
    about = os.fstat(descriptor)
    kind = _KINDS.get(stat.S_IFMT(about.st_mode), "other")
    return {
        "name": posixpath.basename(posixpath.normpath(path)) or "/", "path": path, "kind": kind,
        "size": about.st_size, "mode": about.st_mode,
        "owner": about.st_uid - spec.OWNER, "group": about.st_gid - spec.OWNER,
        "modified": about.st_mtime,
        "target": os.fsencode(os.readlink("", dir_fd=descriptor)).decode("utf-8", "replace")
        if kind == "symlink" else "",
    }  # fmt: skip


@contextlib.contextmanager
def _itself(tree: rooted.Root, path: str, *, follow: bool = False) -> Iterator[int]:
    """A descriptor that only names what is at ``path``, which may be a link."""
    flags = os.O_PATH if follow or path.endswith("/") else os.O_PATH | os.O_NOFOLLOW
    with tree.opened(path, flags) as descriptor:
        yield descriptor


# -- reading and writing ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _plain(tree: rooted.Root, path: str, flags: int) -> Iterator[tuple[int, os.stat_result]]:
    """An open plain file: a pipe would make us wait, a device do what we do not know."""
    with tree.opened(path, os.O_PATH) as named:
        about = os.fstat(named)
        if stat.S_ISDIR(about.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(about.st_mode):
            raise exception.SandboxFilesystemError(f"{path} is not a file")
        # By the descriptor that was looked at, so that nothing can take its place meanwhile.
        opened = os.open(f"/proc/self/fd/{named}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield opened, about
    finally:
        os.close(opened)


def _read(tree: rooted.Root, path: str, request: messages.FileRequest, data: bytes) -> tuple[Any, bytes]:
    offset, size = request.get("offset", 0), min(request.get("size", _PIECE), _PIECE)
    if offset < 0 or size < 0:
        raise exception.InvalidError("a file has no place before its beginning")
    with _plain(tree, path, os.O_RDONLY) as (descriptor, about):
        if about.st_size > _LARGEST:
            raise OSError(errno.EFBIG, "")
        piece = os.pread(descriptor, size, offset)
        return {"total": max(about.st_size, offset + len(piece))}, piece


def _write(tree: rooted.Root, path: str, request: messages.FileRequest, data: bytes) -> tuple[Any, bytes]:
    mode, offset = request.get("mode", "truncate"), request.get("offset", 0)
    if offset < 0 or mode not in ("create", "truncate", "append", "update"):
        raise exception.InvalidError("a file cannot be written so")
    if mode != "update":
        _create(tree, path, exclusive=mode == "create", parents=request.get("parents", False))
    flags = os.O_WRONLY | (os.O_TRUNC if mode == "truncate" else os.O_APPEND if mode == "append" else 0)
    with _plain(tree, path, flags) as (descriptor, about):
        end = about.st_size if mode == "append" else offset
        view = memoryview(data)
        while view:
            count = os.write(descriptor, view) if mode == "append" else os.pwrite(descriptor, view, offset)
            view, offset = view[count:], offset + count
        return {"total": end + len(data)}, b""


def _create(tree: rooted.Root, path: str, *, exclusive: bool, parents: bool) -> None:
    """Let a file exist at ``path``; through a link, where it leads to."""
    with _parent(tree, path, parents=parents) as (folder, name):
        try:
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
        except FileExistsError:
            if exclusive:
                raise
        else:
            os.fchown(made, spec.OWNER, spec.OWNER)
            os.close(made)


@contextlib.contextmanager
def _parent(tree: rooted.Root, path: str, *, parents: bool = False) -> Iterator[tuple[int, str]]:
    """The open folder above ``path``, and the name in it."""
    above, name = posixpath.split(path.rstrip("/"))
    if not name or name in (".", ".."):
        raise OSError(errno.EISDIR if not name else errno.EINVAL, "")
    if parents:
        _folders(tree, above)
    with tree.opened(above or "/", os.O_RDONLY | os.O_DIRECTORY) as folder:
        yield folder, name


def _folders(tree: rooted.Root, path: str) -> None:
    for made in tree.make(path):
        with tree.opened(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as descriptor:
            os.fchown(descriptor, spec.OWNER, spec.OWNER)


# -- folders ----------------------------------------------------------------------------------------------------


def _mkdir(tree: rooted.Root, path: str, request: messages.FileRequest, data: bytes) -> tuple[Any, bytes]:
    if request.get("parents", False):
        if ".." in path.split("/"):
            raise exception.InvalidError(f"{path!r} leads upwards: name the folder itself")
        _folders(tree, path)
        with tree.opened(path, os.O_PATH | os.O_DIRECTORY):
            return {}, b""
    with _parent(tree, path) as (folder, name):
        os.mkdir(name, 0o755, dir_fd=folder)
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fchown(made, spec.OWNER, spec.OWNER)
        finally:
            os.close(made)
    return {}, b""


def _remove(tree: rooted.Root, path: str, request: messages.FileRequest, data: bytes) -> tuple[Any, bytes]:
    with _parent(tree, path) as (folder, name):
        about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(about.st_mode):
            os.unlink(name, dir_fd=folder)
        elif request.get("recursive", False):
            _remove_tree(folder, name, _DEPTH)
        else:
            os.rmdir(name, dir_fd=folder)
    return {}, b""


def _remove_tree(parent: int, name: str, depth: int) -> None:
    """A folder with what is in it. What is replaced by a link meanwhile is removed as a link."""
    if not depth:
        raise OSError(errno.ELOOP, "too many folders in each other")
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        for inner in os.listdir(folder):  # noqa: PTH208
            try:
                os.unlink(inner, dir_fd=folder)
            except IsADirectoryError:
                _remove_tree(folder, inner, depth - 1)
            except FileNotFoundError:
                continue
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)


_Operation = Callable[[rooted.Root, str, messages.FileRequest, bytes], tuple[Any, bytes]]
_OPERATIONS: dict[str, _Operation] = {
    "stat": _stat, "list": _list, "read": _read, "write": _write, "mkdir": _mkdir, "remove": _remove,
}  # fmt: skip


# -- watching ---------------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_ACCESS, _MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x1, 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
_ALL = _ACCESS | _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_ONLY_FOLDERS, _IS_FOLDER, _HEADER = 0x01000000, 0x40000000, struct.Struct("iIII")
_MOST_WATCHES = 1000
SETTLE = 0.02  # seconds for both halves of a move to arrive


class Watch:
    """Changes below a folder, to be read when ``descriptor`` can be; close it at the end."""

    def __init__(self, root: Path, path: str, *, recursive: bool) -> None:
        self._root, self._path, self._recursive = root, path, recursive
        self._folders: dict[int, str] = {}
        self.descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise exception.ResourceExhaustedError("no more folders can be watched on this machine")
        try:
            self._add(path)
        except OSError as exc:
            os.close(self.descriptor)
            raise _translated(exc, path) from None

    def close(self) -> None:
        os.close(self.descriptor)

    def _add(self, path: str) -> None:
        if len(self._folders) >= _MOST_WATCHES:
            return
        with rooted.at(self._root) as tree, tree.opened(path, os.O_PATH) as named:
            folder = stat.S_ISDIR(os.fstat(named).st_mode)
            number = _libc.inotify_add_watch(self.descriptor, f"/proc/self/fd/{named}".encode(), _ALL)
            if number < 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            self._folders[number] = path
        if folder and self._recursive:
            with rooted.at(self._root) as tree, tree.opened(path, os.O_RDONLY | os.O_DIRECTORY) as opened:
                inner = [entry.name for entry in os.scandir(opened) if entry.is_dir(follow_symlinks=False)]
            for name in inner:
                with contextlib.suppress(OSError):
                    self._add(posixpath.join(path, name))

    def events(self) -> list[messages.WatchEvent]:
        """What has happened until now."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return []
        found: list[messages.WatchEvent] = []
        moved: dict[int, str] = {}
        start = 0
        while start < len(data):
            number, mask, cookie, size = _HEADER.unpack_from(data, start)
            name = data[start + _HEADER.size : start + _HEADER.size + size].rstrip(b"\0").decode("utf-8", "replace")
            start += _HEADER.size + size
            folder = self._folders.get(number)
            if folder is None:
                continue
            path = posixpath.join(folder, name) if name else folder
            if mask & _IS_FOLDER and mask & (_CREATE | _MOVED_TO) and self._recursive:
                with contextlib.suppress(OSError):
                    self._add(path)
            if mask & _MOVED_FROM:
                moved[cookie] = path
            elif mask & _MOVED_TO:
                before = moved.pop(cookie, None)
                found.append({"kind": "Modify", "paths": [before, path] if before else [path]})
            elif kind := _kind(mask):
                found.append({"kind": kind, "paths": [path]})
        found += [{"kind": "Modify", "paths": [path]} for path in moved.values()]
        return found


def _kind(mask: int) -> str:
    for bits, kind in ((_CREATE, "Create"), (_DELETE, "Remove"), (_MODIFY | _ATTRIB, "Modify"), (_ACCESS, "Access")):
        if mask & bits:
            return kind
    return ""
