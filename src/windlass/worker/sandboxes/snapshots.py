"""A layer of what is in a sandbox just now: of all that it changed, or of one folder.

What was changed lies above the image and the local files that were mounted over it. So below the layer of a snapshot
each mount becomes a layer, too: shared by all snapshots of sandboxes of that image, its files linked.

The tree is copied by descriptors, folder by folder, while the sandbox runs: what is replaced by a link meanwhile is not
followed. Files share their blocks with the original where the file system can do that.
"""
from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from windlass import exception
from windlass.worker import mounts as trees
from windlass.worker.images import cache, holds, rooted, stack
from windlass.worker.sandboxes import box, memories

_OURS = ("etc/resolv.conf", "etc/hostname", "etc/hosts")
_CLONE = 0x40049409
_COPIED = 64 * 1024 * 1024
_DEPTH = 500
_ATTRIBUTES = "user."


@contextlib.asynccontextmanager
async def ground(root: Path, held: holds.Holds, parent: str, mounts: Sequence[str]) -> AsyncIterator[list[str]]:
    """The layers that a sandbox stands on, bottom first: of its image ``parent``, and one for each of its ``mounts``,
    made where it is missing. They stay until the block is left."""
    layers = cache.Layers(root)
    below = {_name(parent, digest): trees.place(root, digest) for digest in mounts}
    with held.of(parent, *below):
        found = layers.read(parent)["layers"]
        files = [layers.files(layer) for layer in found]
        for name, tree in below.items():
            if layers.shared(name) is None:
                await _mounted(layers, name, files, tree)
        yield [*found, *below]


def _name(parent: str, digest: str) -> str:
    """Of the layer of a mount: it is fitted to its image, so it belongs to both."""
    return cache.SHARED + hashlib.sha256(f"mount {digest} on {parent}".encode()).hexdigest()


async def _mounted(layers: cache.Layers, name: str, files: Sequence[Path], tree: Path) -> None:
    async with layers.draft() as draft:
        await asyncio.to_thread(stack.graft, files, tree, draft.tree())
        record: cache.Shared = {"opaque": False}
        await layers.publish(name, draft, record)


async def publish(
    home: box.Home, layers: cache.Layers, image_id: str, *, parent: str, below: Sequence[str], path: str,
    memory: Path | None = None,
) -> cache.Record:  # fmt: skip
    """Make the layer ``image_id``: of the folder ``path``, or of all that was changed, on the layers ``below`` and with
    the settings of the image ``parent``. ``memory``: a folder that is kept beside it."""
    async with layers.draft() as draft:
        if memory is not None:
            memories.keep(memory, draft.folder)
        await asyncio.to_thread(_copied, home, draft.tree(), path)
        if path:
            record: cache.Record = {
                "layers": [image_id], "env": {}, "workdir": "", "entrypoint": [], "python": "", "size": 0,
            }  # fmt: skip
        else:
            record = {**layers.read(parent), "layers": [*below, image_id]}
        return await layers.publish(image_id, draft, record)


def _copied(home: box.Home, target: Path, path: str) -> None:
    try:
        with contextlib.ExitStack() as held:
            if path:
                root = held.enter_context(rooted.at(home.root))
                source = held.enter_context(root.opened(path, os.O_RDONLY | os.O_DIRECTORY))
            else:
                source = os.open(home.folder.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                held.callback(os.close, source)
            into = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, into)
            _Copy().folder(source, into, _DEPTH)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise exception.SandboxFilesystemNotFoundError(f"there is no directory {path}: {exc.strerror}") from None
    if not path:
        for name in _OURS:
            (target / name).unlink(missing_ok=True)


class _Copy:
    """One copy. Files with several names become several files."""

    def folder(self, source: int, target: int, depth: int) -> None:
        if not depth:
            raise exception.InvalidError("too many folders in each other")
        for name in os.listdir(source):
            with contextlib.suppress(FileNotFoundError):  # it is gone by now
                self._entry(source, target, name, depth)
        _dress(source, target, os.fstat(source))

    def _entry(self, source: int, target: int, name: str, depth: int) -> None:
        about = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(about.st_mode)
        if kind == stat.S_IFDIR:
            self._inner(source, target, name, depth)
        elif kind == stat.S_IFREG:
            _file(source, target, name)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, about.st_uid, about.st_gid, dir_fd=target, follow_symlinks=False)
            os.utime(name, ns=(about.st_mtime_ns, about.st_mtime_ns), dir_fd=target, follow_symlinks=False)
        elif kind == stat.S_IFCHR and about.st_rdev == 0:  # what was deleted of the layers below
            os.mknod(name, about.st_mode, about.st_rdev, dir_fd=target)
        # sockets and pipes belong to processes that are not in a snapshot

    def _inner(self, source: int, target: int, name: str, depth: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            inner = os.open(name, flags, dir_fd=source)
        except OSError:  # it is no folder any more
            return
        try:
            os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, flags, dir_fd=target)
            try:
                self.folder(inner, made, depth - 1)
            finally:
                os.close(made)
        finally:
            os.close(inner)


def _file(source: int, target: int, name: str) -> None:
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    except OSError:  # it is no file any more
        return
    try:
        about = os.fstat(opened)
        if not stat.S_ISREG(about.st_mode):
            return
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            _content(opened, made, about.st_size)
            _dress(opened, made, about)
        finally:
            os.close(made)
    finally:
        os.close(opened)


def _content(source: int, target: int, size: int) -> None:
    if not size:
        return
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _CLONE, source)
        return
    left = size
    while left > 0:
        count = os.sendfile(target, source, None, min(left, _COPIED))
        if not count:
            return
        left -= count


def _dress(source: int, target: int, about: os.stat_result) -> None:
    """Owner, mode, attributes and time."""
    os.fchown(target, about.st_uid, about.st_gid)
    os.fchmod(target, stat.S_IMODE(about.st_mode))
    for name in os.listxattr(source):
        if name.startswith(_ATTRIBUTES):
            with contextlib.suppress(OSError):
                os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(about.st_mtime_ns, about.st_mtime_ns))
