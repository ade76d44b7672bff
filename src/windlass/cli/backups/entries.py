"""What a backup says of one file, folder, link or device; and reading it off a disk, or giving it back to one."""
from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from windlass import exception

FILE, FOLDER, LINK, SAME, DEVICE = "file", "folder", "link", "same", "device"
RIGHTS = "security.capability"
_FIRST = 1_900_000_000
"""Where root's nodes keep the ids of their containers. In a backup they begin at 1, as inside of nodes and as in a
user's own namespace, so that a home can move between users."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """``digest`` and ``size``: of a file. ``target``: of a link; the path that is the SAME file; a device's number."""

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""
    xattrs: dict[str, str] = dataclasses.field(default_factory=dict)

    def line(self) -> str:
        whole = dataclasses.asdict(self)
        return json.dumps({key: value for key, value in whole.items() if value not in (0, "", {})})

    def same_file(self, other: Entry) -> bool:
        """Whether ``other``, seen later, has surely the same bytes."""
        return (self.kind, self.size, self.mtime) == (other.kind, other.size, other.mtime) and self.kind == FILE


def parse(line: str) -> Entry:
    """Raises ``DataLossError``, also for a path that leads elsewhere."""
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError) as exc:
        raise exception.DataLossError(f"the list of files of the backup is damaged: {exc}") from None
    check_path(entry.path)
    if entry.kind == SAME:
        check_path(entry.target)
    return entry


def check_path(path: str) -> None:
    if type(path) is not str or "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise exception.DataLossError(f"the backup has a file of a strange name: {str(path)[:200]!r}")


def look(path: str, place: Path) -> Entry | None:
    """What is at ``place``. None for sockets and pipes, which mean nothing elsewhere. Raises ``FileNotFoundError``."""
    state = place.lstat()
    kinds = {stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: LINK, stat.S_IFCHR: DEVICE}
    kind = kinds.get(stat.S_IFMT(state.st_mode))
    if kind is None:
        return None
    target = ""
    if kind == LINK:
        target = os.readlink(place)  # noqa: PTH115 - bytes that are no text must stay as they are
    elif kind == DEVICE:
        target = str(state.st_rdev)
    return Entry(
        path, kind, stat.S_IMODE(state.st_mode), _inside(state.st_uid), _inside(state.st_gid), state.st_mtime_ns,
        state.st_size if kind == FILE else 0, target=target, xattrs={} if kind == LINK else _xattrs(place),
    )  # fmt: skip


def _xattrs(place: Path) -> dict[str, str]:
    try:
        names = os.listxattr(place)
        kept = [name for name in names if name.startswith("user.") or name == RIGHTS]
        return {name: base64.b64encode(os.getxattr(place, name)).decode() for name in kept}
    except OSError as exc:
        if exc.errno in (errno.ENOTSUP, errno.EPERM):
            return {}
        raise


def make_folders(place: Path) -> None:
    """As ``Path.mkdir(parents=True, exist_ok=True)``, which is as deep in calls as the folders are."""
    absent = []
    while not place.is_dir():
        absent.append(place)
        place = place.parent
    for one in reversed(absent):
        one.mkdir(exist_ok=True)


def dress(entry: Entry, place: Path) -> None:
    """Make what is no file, and give anything its owner, attributes, mode and time."""
    if entry.kind == FOLDER:
        make_folders(place)
    elif entry.kind == LINK:
        make_folders(place.parent)
        place.symlink_to(entry.target)
    elif entry.kind == DEVICE:
        make_folders(place.parent)
        os.mknod(place, stat.S_IFCHR | entry.mode, int(entry.target))
    with _owned(entry):
        os.chown(place, outside(entry.uid, os.geteuid()), outside(entry.gid, os.getegid()), follow_symlinks=False)
    if entry.kind != LINK:
        for name, value in entry.xattrs.items():
            os.setxattr(place, name, base64.b64decode(value))
        place.chmod(entry.mode)
    os.utime(place, ns=(entry.mtime, entry.mtime), follow_symlinks=False)


@contextlib.contextmanager
def _owned(entry: Entry) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise exception.PermissionDeniedError(
            f"{entry.path} cannot be given to user {entry.uid} of the containers",
            hint="Restore as root, or as a user with lines in /etc/subuid and /etc/subgid.",
        ) from None


def _inside(number: int) -> int:
    return number - _FIRST + 1 if number >= _FIRST else number if _namespaced() else 0


def outside(number: int, own: int) -> int:
    """Who that is on this machine. ``own``: who the owner of the home is."""
    return number if _namespaced() else _FIRST + number - 1 if number else own


def _namespaced() -> bool:
    """Whether this process sees ids as a node does: root of a user namespace of an ordinary user."""
    first = Path("/proc/self/uid_map").read_text().split()
    return first[:3] != ["0", "0", "4294967295"] and os.geteuid() == 0
