"""What stands between a process and being forked, and what of it a fork gets again: open files.

A fork is a copy of memory in other namespaces. What lives elsewhere (threads, sockets, devices, shared memory) would be
missing, or shared with strangers: then there is no snapshot, and the reason is told. Files that are only read are
opened again in the fork's own file system, at the same place.
"""
from __future__ import annotations

import fcntl
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.runner import served as served_module

_HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full")
_SHARED = {"/dev/shm": "shared memory", "/dev/mqueue": "message queues"}
_NAMES = {
    "socket:": "an open socket", "pipe:": "an open pipe", "anon_inode:[eventpoll]": "an event loop, or another poll",
    "anon_inode:inotify": "a watch for files", "anon_inode:[eventfd]": "an open event descriptor",
}  # fmt: skip


class Cannot(Exception):
    """Why there is no snapshot."""


class OpenFile:
    """A descriptor to be had again in forks."""

    __slots__ = ("flags", "inheritable", "number", "path", "place")

    def __init__(self, number: int, path: str, flags: int) -> None:
        self.number = number
        self.path = path
        self.flags = flags
        self.inheritable = os.get_inheritable(number)
        self.place = os.lseek(number, 0, os.SEEK_CUR) if stat.S_ISREG(os.fstat(number).st_mode) else 0


def descriptors() -> set[int]:
    """Numbers that are open now."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}  # noqa: PTH208, PTH110


def check(served: served_module.Served, *, ours: set[int]) -> list[OpenFile]:
    """The files to open again. Raises ``Cannot``. ``ours``: descriptors of before user code."""
    _loop(served)
    _threads()
    _processes()
    _shared()
    return [file for number in sorted(descriptors() - ours) if (file := _file(number)) is not None]


def _loop(served: served_module.Served) -> None:
    """An event loop cannot be forked; one that has nothing to do is made again when it is needed."""
    if served.loop is not None:
        import asyncio

        if asyncio.all_tasks(served.loop.loop):
            raise Cannot("async tasks are running")
        served.loop.loop.close()
        asyncio.set_event_loop(None)
        served.loop = None


def _threads() -> None:
    count = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if count > 1:
        known = sys.modules.get("threading")
        names = [] if known is None else [t.name for t in known.enumerate() if t is not known.main_thread()]
        raise Cannot(f"{count - 1} other threads are running{': ' + ', '.join(names[:5]) if names else ''}")


def _processes() -> None:
    others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]  # noqa: PTH208
    if others:
        raise Cannot(f"{len(others)} other processes are running")


def _shared() -> None:
    for folder, what in _SHARED.items():
        if os.listdir(folder):  # noqa: PTH208
            raise Cannot(f"{what} would be shared: {folder} is not empty")
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        for line in file:
            permissions = line.split(" ", 2)[1]
            if "w" in permissions and "s" in permissions:
                raise Cannot(f"memory that can be written is shared: {line.split(None, 5)[-1].strip()}")
    with open("/proc/sysvipc/shm", encoding="ascii") as file:  # noqa: PTH123
        if len(file.readlines()) > 1:
            raise Cannot("System V shared memory would be lost")


def _file(number: int) -> OpenFile | None:
    try:
        where, flags = os.readlink(f"/proc/self/fd/{number}"), fcntl.fcntl(number, fcntl.F_GETFL)  # noqa: PTH115
        mode = os.fstat(number).st_mode
    except OSError:
        return None  # the folder that was listed
    if where in _HARMLESS_DEVICES:
        return OpenFile(number, where, flags & ~os.O_CREAT)
    if not where.startswith("/"):
        known = next((name for start, name in _NAMES.items() if where.startswith(start)), f"an open {where}")
        raise Cannot(f"{known} cannot be forked")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise Cannot(f"the device {where} is open")
    if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH:
        raise Cannot(f"{where} is open for writing")
    if not os.path.exists(where):  # noqa: PTH110
        raise Cannot(f"a deleted file is open: {where}")
    return OpenFile(number, where, flags)


def reopen(files: list[OpenFile]) -> None:
    """Have the same files at the same places, but of the own file system."""
    for file in files:
        fresh = os.open(file.path, file.flags)
        os.lseek(fresh, file.place, os.SEEK_SET) if file.place else None
        os.dup2(fresh, file.number, inheritable=file.inheritable)
        os.close(fresh)
