"""Network file systems: folders that containers have mounted as they are, and what is done in them from outside.

    nfs/<id>/files/     what containers see at their mount, and write to at any moment
    nfs/<id>/drafts/    files from outside until they are whole; then they are renamed into place
    nfs/.gone-<id>/     on its way out

Whoever is root in a container can put links and pipes there and exchange folders while the worker looks. So each path
is resolved by the kernel with ``files`` as the root, what lies at its end is never followed, and whatever is made or
removed is so by the descriptor of its folder.
"""
from __future__ import annotations

import collections
import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from windlass import exception
from windlass.kit import ids
from windlass.wire.messages import volumes as messages
from windlass.worker import spec, userns
from windlass.worker.images import rooted
from windlass.worker.volumes import editing, reading
from windlass.worker.volumes import layers as layer_store

_GONE = ".gone-"
_PARENT = os.O_PATH | os.O_DIRECTORY


class Folders:
    """All of them below ``home``."""

    def __init__(self, home: Path) -> None:
        self.root = home / "nfs"
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o711)  # runtimes reach what they mount as the containers' root

    def sweep(self) -> None:
        """Remove what a killed worker had not put into place."""
        for drafts in self.root.glob("*/drafts"):
            shutil.rmtree(drafts, ignore_errors=True)

    def files(self, nfs_id: str) -> Path:
        """The folder, made when it is first needed. Raises ``InvalidError``."""
        if not ids.is_id(nfs_id, "sv"):
            raise exception.InvalidError(f"{nfs_id[:80]!r} is no id of a network file system")
        files = self.root / nfs_id / "files"
        if not files.is_dir():
            files.parent.mkdir(exist_ok=True)
            files.parent.chmod(0o711)
            layer_store.dressed(files)
        return files

    def known(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self.root) if ids.is_id(entry.name, "sv"))

    def retire(self, nfs_ids: Sequence[str]) -> None:
        """Take folders away, each at one moment for everybody. Containers that show one see its files go."""
        for nfs_id in nfs_ids:
            if ids.is_id(nfs_id, "sv"):
                with contextlib.suppress(FileNotFoundError):
                    (self.root / nfs_id).rename(self.root / f"{_GONE}{ids.new('x')}")

    async def bury(self) -> None:
        """Free the space of what was taken away. Raises ``OSError`` where something still writes to it."""
        for gone in sorted(self.root.glob(f"{_GONE}*")):
            await userns.remove_tree(gone)

    @contextlib.contextmanager
    def drafts(self, nfs_id: str) -> Iterator[Path]:
        """A folder for files in the making, on the same file system; removed with what is left in it."""
        folder = self.files(nfs_id).parent / "drafts"
        folder.mkdir(mode=0o700, exist_ok=True)
        own = folder / ids.new("x")
        own.mkdir(0o700)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)


# -- files from outside ------------------------------------------------------------------------------------


def put(folders: Folders, nfs_id: str, steps: Sequence[messages.EditStep], uploads: Path) -> None:
    """Put uploads into place, each whole and in place of what is there.

    Raises:
        InvalidError: a path is not allowed, or leads through a file.
        NotFoundError: an upload is not here any more.
        AlreadyExistsError: a folder is in the way.
    """
    for step in steps:  # everything is looked at before anything is put
        if not editing.parts(step["path"]):
            raise exception.InvalidError("a file needs a name")
    left = collections.Counter(step["blob"] for step in steps)
    with folders.drafts(nfs_id) as drafts, rooted.at(folders.files(nfs_id)) as root:
        for step in steps:
            left[step["blob"]] -= 1
            draft = drafts / ids.new("x")
            try:
                _fill(draft, step, editing.upload(uploads, step["blob"]), last=not left[step["blob"]])
            except FileNotFoundError:
                raise exception.NotFoundError(f"the upload {step['blob']} is not here any more") from None
            try:
                _place(root, draft, step)
            except IsADirectoryError:
                raise exception.AlreadyExistsError(
                    f"{step['path']!r} is a folder, which no file can replace"
                ) from None
            except OSError as exc:
                raise editing.said(exc, step["path"]) from None
    editing.spent(uploads, steps)


def _fill(draft: Path, step: messages.EditStep, upload: Path, *, last: bool) -> None:
    """The file of a step at a place that only the worker knows. ``last``: nobody needs the upload after this."""
    if not editing.is_whole(step):
        with upload.open("rb") as pack:
            draft.write_bytes(editing.cut(pack.fileno(), step))
    elif last:
        upload.rename(draft)
        os.utime(draft)
    else:
        shutil.copyfile(upload, draft)
    draft.chmod(step.get("mode", 0o644) & 0o777 | 0o400)
    os.chown(draft, spec.OWNER, spec.OWNER)


def make(folders: Folders, nfs_id: str, step: messages.EditStep) -> None:
    """Let a folder be there. Raises ``InvalidError`` where a file is in the way."""
    names = editing.parts(step["path"])
    with rooted.at(folders.files(nfs_id)) as root:
        try:
            _make(root, "/".join(names))
        except OSError as exc:
            raise editing.said(exc, step["path"]) from None


def _make(root: rooted.Root, folder: str) -> None:
    for made in root.make(folder):
        with root.opened(made, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            os.fchown(descriptor, spec.OWNER, spec.OWNER)


def _place(root: rooted.Root, draft: Path, step: messages.EditStep) -> None:
    *above, name = editing.parts(step["path"])
    folder = "/".join(above)
    _make(root, folder)
    with root.opened(folder, _PARENT) as parent:
        os.rename(draft, name, dst_dir_fd=parent)


async def remove(folders: Folders, nfs_id: str, step: messages.EditStep) -> None:
    """Remove what is at a path: a file or link; with ``recursive`` a folder, or the content of all.

    Raises:
        NotFoundError: there is no such path.
        InvalidError: it is a folder.
    """
    names, recursive = editing.parts(step["path"]), step.get("recursive", False)
    with rooted.at(folders.files(nfs_id)) as root:
        try:
            with root.opened("/".join(names[:-1]), _PARENT) as parent:
                if names:
                    await _remove(parent, names[-1], step["path"], recursive)
                    return
                if not recursive:
                    raise exception.InvalidError("the root is a folder", hint="Pass recursive=True to empty it.")
                for name in root.names("/"):
                    await userns.remove_tree(_through(parent, name), descriptors=[parent])
        except FileNotFoundError:
            raise reading.missing(step["path"]) from None
        except OSError as exc:
            raise _left(exc, step["path"]) from None


async def _remove(parent: int, name: str, shown: str, recursive: bool) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=parent)
    elif recursive:
        await userns.remove_tree(_through(parent, name), descriptors=[parent])
    else:
        raise exception.InvalidError(f"{shown!r} is a folder", hint="Pass recursive=True to remove it.")


def _through(parent: int, name: str) -> Path:
    """A path for another program that has the descriptor. It does not follow what lies at the end."""
    return Path(f"/proc/self/fd/{parent}") / name


def _left(exc: OSError, path: str) -> exception.Error:
    if exc.errno is None:  # of the program that removes
        return exception.ConflictError(f"not all of {path!r} could be removed: {exc}", hint="Something writes there.")
    return editing.said(exc, path)
