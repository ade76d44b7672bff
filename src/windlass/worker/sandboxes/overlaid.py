"""Images over folders of a sandbox that runs: hung in and taken away from a thread in its mount namespace.

The stack of an image gets a private layer of its own, so it can be written to; what was at the place is hidden until it
is taken away. Paths are resolved with the sandbox's root as the root, and a mount is found again by its own device
number: the sandbox can rename what it likes meanwhile, but it cannot mount (``volumes.swap``). A virtual machine sees
it, too: its virtiofsd opens files in that mount namespace, one name after the other.
"""
from __future__ import annotations

import contextlib
import json
import os
import posixpath
from pathlib import Path
from typing import Any

from windlass import exception
from windlass.kit import trees
from windlass.worker import folder as folders
from windlass.worker import linux, overlay, spec
from windlass.worker.images import rooted, stack
from windlass.worker.sandboxes import box
from windlass.worker.volumes import swap

_FOLDER = "overlaid"
_FOR_OURSELVES = ("proc", "sys", "dev")


def mount(home: box.Home, root: Path, image_id: str, path: str) -> None:
    """Show an image at ``path``. Blocks. Raises ``InvalidError`` where nothing may be mounted."""
    where = _place(path)
    if where in _known(home):
        raise exception.ConflictError(f"an image is mounted at {where} already", hint="Unmount it first.")
    part = home.folder.path / _FOLDER / f"{len(_known(home))}-{image_id}"
    for name in ("rootfs", "upper", "work", "empty"):
        (part / name).mkdir(parents=True)
    os.chown(part / "upper", spec.OWNER, spec.OWNER)
    lowers = [part / "empty", *stack.lowers(root, image_id)]
    overlay.mount(part / "rootfs", lowers=lowers, upper=part / "upper", work=part / "work")
    try:
        device = (part / "rootfs").stat().st_dev
        tree = linux.open_tree(part / "rootfs")
        try:
            swap.inside(home.record["pid"], lambda: _hang(tree, where, home.inner))
        finally:
            os.close(tree)
    except BaseException:
        trees.remove(part)
        raise
    finally:
        overlay.unmount(part / "rootfs")  # it hangs in the sandbox now, or nowhere
    _remember(home, {**_known(home), where: [device, str(part)]}, image_id)


def unmount(home: box.Home, path: str) -> None:
    """Take it away; programs that use it keep it. Raises ``NotFoundError`` where none was mounted."""
    where, known = _place(path), _known(home)
    if where not in known:
        raise exception.NotFoundError(f"no image is mounted at {where}")
    device, part = known.pop(where)
    swap.inside(home.record["pid"], lambda: _take(where, device, home.inner))
    _remember(home, known, "")
    trees.remove(part)


def _place(path: str) -> str:
    where = posixpath.normpath(path)
    top = where.split("/")[1] if where.startswith("/") else ""
    if not where.startswith("/") or ".." in path.split("/") or "\0" in path or not top or top in _FOR_OURSELVES:
        raise exception.InvalidError(f"no image can be mounted at {path[:200]!r}")
    return where


def _hang(tree: int, where: str, root: str) -> None:
    with rooted.at(Path(root)) as inside:
        for made in inside.make(where):
            with inside.opened(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as descriptor:
                os.fchown(descriptor, spec.OWNER, spec.OWNER)
        try:
            with inside.opened(where, os.O_PATH | os.O_DIRECTORY) as below:
                if os.fstat(below).st_dev != os.fstat(inside.descriptor).st_dev:
                    raise exception.InvalidError(f"{where} leads to another file system, where no image can be mounted")
                linux.hang(tree, below)
        except NotADirectoryError:
            raise exception.SandboxFilesystemNotADirectoryError(f"{where} is no directory") from None


def _take(where: str, device: int, root: str) -> None:
    above, name = posixpath.split(where)
    with rooted.at(Path(root)) as inside, inside.opened(above, os.O_PATH | os.O_DIRECTORY) as parent:
        if os.stat(name, dir_fd=parent, follow_symlinks=False).st_dev != device:
            raise exception.ConflictError(f"the image at {where} is not where it was")
        os.fchdir(parent)
        linux.unmount_here(name)


def _known(home: box.Home) -> dict[str, list[Any]]:
    with contextlib.suppress(FileNotFoundError):
        found: dict[str, list[Any]] = json.loads((home.folder.path / f"{_FOLDER}.json").read_text())
        return found
    return {}


def _remember(home: box.Home, known: dict[str, list[Any]], image_id: str) -> None:
    """For later commands, and so that nobody removes the image."""
    (home.folder.path / f"{_FOLDER}.json").write_text(json.dumps(known))
    if image_id:
        record: folders.Record = {**home.record, "uses": [*home.record["uses"], image_id]}
        home.folder.write(record)
