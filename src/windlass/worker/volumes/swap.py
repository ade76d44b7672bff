"""Exchanging the mount of a volume inside a running container.

The worker may act in the mount namespaces of its containers, because they are owned by user namespaces below its own. A
thread of its own goes there for some microseconds: it hangs the new mount in below the old one and takes the old one
away, which the kernel refuses while anything in the container uses it (that is what "busy" means). So a path there
leads into the old mount or into the new one, never into nothing, whoever is killed.

What hangs below cannot be taken away again as long as the old one is there. Therefore the kernel is asked first whether
that is in use; if somebody begins to use it in the microseconds until it is taken away, the new one stays where it is,
unseen, until the container ends. So does one whose worker was killed in between.

The container's processes run meanwhile and may rename or link whatever they like, but they cannot mount. So the place
is found by the mount's own device number: its folder is opened by descriptor, and only if the device is right there is
anything taken away.

Kernels before Linux 6.5 know no "below": there the old mount is taken away first. In between, for microseconds, the
place is an empty folder of the container's own layer: what is written right then stays there, unseen.
"""
from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker import linux

_PATH = os.O_PATH | os.O_CLOEXEC
_DIRECTORY = _PATH | os.O_DIRECTORY
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


class Busy(Exception):
    """Something in the container uses the mount."""


class Place(NamedTuple):
    """A mount of a container: where it hangs, its device, and its upper folder ("" for none)."""

    path: str
    device: int
    upper: str


def places(pid: int) -> list[Place]:
    """Overlays that are mounted in the container of process ``pid``, and are not hidden by another mount."""
    found, mounts = [], list(_mounts(pid))
    hidden = {(fields[1], fields[4]) for fields, _, _ in mounts}  # a mount's parent, and where it hangs in there
    for fields, kind, options in mounts:
        if kind == "overlay" and (fields[0], fields[4]) not in hidden:
            major, _, minor = fields[2].partition(":")
            device = os.makedev(int(major), int(minor))
            found.append(Place(_unescaped(fields[4]), device, _option(options, "upperdir")))
    return found


def exchange(pid: int, old: Place | None, tree: int, target: str) -> None:
    """Hang ``tree`` in at the place of ``old``; at ``target`` where that is gone.

    Raises:
        Busy: something uses the old one; nothing has changed.
        NotFoundError: the container is gone.
    """
    inside(pid, lambda: _exchange(target if old is None else old.path, None if old is None else old.device, tree))


def _exchange(where: str, device: int | None, tree: int) -> None:
    folder, _, name = where.rstrip("/").rpartition("/")
    parent = os.open(folder or "/", _DIRECTORY)
    try:
        if device is not None:
            if os.stat(name, dir_fd=parent, follow_symlinks=False).st_dev != device:
                raise exception.ExecutionError(f"the mount at {where} is not where it was")
            os.fchdir(parent)
            if _exchange_beneath(parent, name, tree):
                return
        below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            linux.hang(tree, below)
        finally:
            os.close(below)
    finally:
        os.close(parent)


def _exchange_beneath(parent: int, name: str, tree: int) -> bool:
    """Whether the new mount is where the old one was; otherwise that place is empty now. Raises ``Busy``."""
    unused = linux.is_unused(name)
    if unused is None:
        return False
    if not unused:
        raise Busy
    try:
        linux.hang_beneath(tree, parent, name)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        _take_away(name)
        return False
    _take_away(name)
    return True


def _take_away(name: str) -> None:
    try:
        linux.unmount_unused(name)
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            raise Busy from None
        raise


def inside(pid: int, act: Callable[[], None]) -> None:
    """Call ``act`` from a thread that is in the mount namespace of ``pid``; the thread ends there."""
    try:
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise exception.NotFoundError("the container has ended") from None
    failed: list[BaseException] = []

    def go() -> None:
        try:
            linux.unshare(linux.FS)
            linux.setns(namespace, linux.NEWNS)
            act()
        except BaseException as exc:  # noqa: BLE001 - handed to whoever waits for the thread
            failed.append(exc)

    thread = threading.Thread(target=go, name="volume")
    thread.start()
    thread.join()
    os.close(namespace)
    if failed:
        raise failed[0]


def user_of(pid: int, mount: Place) -> str:
    """A path that something in the container uses below a mount of it, with how; "" where none is found."""
    namespace = _namespace(pid)
    for entry in os.scandir("/proc"):
        ours = entry.name.isdigit() and _namespace(int(entry.name)) == namespace != ""
        if ours and (use := _use(Path(entry.path), mount.path)):
            return use
    for fields, _, _ in _mounts(pid):
        if (path := _unescaped(fields[4])).startswith(mount.path.rstrip("/") + "/"):
            return f"path {path} is a mount"
    return ""


def _use(process: Path, mount: str) -> str:
    def within(link: Path) -> str:
        try:
            goal = os.readlink(link)  # noqa: PTH115
        except OSError:
            return ""
        return goal if goal == mount or goal.startswith(mount.rstrip("/") + "/") else ""

    for kind, words in (("cwd", "is a working directory"), ("root", "is a root directory")):
        if goal := within(process / kind):
            return f"path {goal} {words}"
    try:
        for descriptor in sorted((process / "fd").iterdir()):
            if goal := within(descriptor):
                return f"path {goal} is open"
        for region in sorted((process / "map_files").iterdir()):
            if goal := within(region):
                return f"path {goal} is mapped into memory"
    except OSError:
        pass
    return ""


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")  # noqa: PTH115
    except OSError:
        return ""


def _mounts(pid: int) -> Iterator[tuple[list[str], str, str]]:
    """Fields, kind and options of each."""
    try:
        text = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):
        return
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        yield head.split(), tail.partition(" ")[0], tail.rpartition(" ")[2]


def _option(options: str, name: str) -> str:
    for one in options.split(","):
        key, _, value = one.partition("=")
        if key == name:
            return _unescaped(value)
    return ""


def _unescaped(text: str) -> str:
    for code, char in _ESCAPES.items():
        text = text.replace(code, char)
    return text
