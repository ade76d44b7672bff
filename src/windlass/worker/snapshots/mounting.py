"""The file system of a cell as a list of system calls, in order. Pure; ``cell`` has makers and process 1 make them.

A maker stands on a ground: a root that holds only what cells are made from. So a cell needs no copy of all mounts of
the node, which takes the longer the more containers there are, and never saw them.

x86-64 only, as forks are.
"""
from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import stat
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from windlass.worker import linux

_SYMLINK, _MKDIR, _CHDIR, _MKNOD, _CAPSET, _PIVOT_ROOT, _PRCTL, _MOUNT, _UMOUNT, _MOVE_MOUNT = (
    88, 83, 80, 133, 126, 155, 157, 165, 166, 429,
)  # fmt: skip
_CLOSE, _MKNODAT, _OPENAT2 = 3, 259, 437
_HERE, _EMPTY_PATH, _ONTO_EMPTY_PATH = -100, 0x4, 0x40
_NO_LINKS = struct.pack("=QQQ", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, 0, 0x02 | 0x04)  # RESOLVE_NO_(MAGIC|SYM)LINKS
_PLACE = 0
"""The descriptor that an opened place gets: closed before, it is the lowest that is free."""
_NO_NEW_PRIVILEGES, _CAP_VERSION = 38, 0x20080522
_STRICT_ATIME, _RELATIVE_ATIME = 0x1000000, 0x200000
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
          "ptmx": "pts/ptmx"}  # fmt: skip
_GROUND = "/tmp"  # where it is laid: any folder that is everywhere
CELL = "/cell"
"""Where the root of a cell hangs on the ground."""
_FLAGS = {"nosuid": linux.MS_NOSUID, "nodev": linux.MS_NODEV, "noexec": linux.MS_NOEXEC, "ro": linux.MS_RDONLY,
          "strictatime": _STRICT_ATIME}  # fmt: skip
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long

Ready = tuple[str, Callable[..., int], tuple[Any, ...], tuple[int, ...]]
"""What it is, the function, its arguments, the errors that do not matter."""


class Plan(TypedDict):
    """``mounts`` in the words of the OCI document; sources are the node's."""

    name: str
    rootfs: str
    mounts: list[dict[str, Any]]
    masked: list[str]
    read_only: list[str]


class Call(NamedTuple):
    """One system call. ``tolerated``: errors that do not matter."""

    what: str
    number: int
    arguments: tuple[int | str | bytes | None, ...]
    tolerated: tuple[int, ...] = ()

    def ready(self) -> Ready:
        """As it can be made without another thought."""
        values = [ctypes.c_long(self.number), *(_value(argument) for argument in self.arguments)]
        return self.what, _syscall, tuple(values), self.tolerated


def _value(argument: int | str | bytes | None) -> Any:
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    return argument.encode("utf-8", "surrogateescape") if isinstance(argument, str) else argument


def ground() -> Iterator[Call]:
    """From the root of the node to one that holds its devices, what is seen by who mounts ``proc`` and ``sysfs`` anew
    (the kernel wants both to be there), and a place for the root of a cell."""
    yield _mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    yield _mount("tmpfs", _GROUND, kind="tmpfs", flags=linux.MS_NOSUID, data="mode=755,size=64k")
    for name in ("/proc", "/sys", "/dev", CELL):
        yield Call(f"mkdir {name}", _MKDIR, (_GROUND + name, 0o755))
    for name in ("/proc", "/sys"):
        yield _mount(name, _GROUND + name, flags=linux.MS_BIND | linux.MS_REC)
    yield from _devices(f"{_GROUND}/dev")
    yield from _root(_GROUND)


def calls(
    plan: Plan, trees: Sequence[int], kept: Mapping[str, int], files: Sequence[str] = ()
) -> Iterator[Call]:
    """Everything from new namespaces to a process that only waits. ``trees``: descriptors of the detached trees of the
    root and of all "rbind" mounts, in order. ``kept``: by destination, flags that these have already. ``files``:
    destinations of those that are no folders; what they cover is made where it is missing."""
    root, left = CELL, iter(trees)
    yield Call("move_mount /", _MOVE_MOUNT, (next(left), "", _HERE, root, _EMPTY_PATH))
    yield _mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    for mount in plan["mounts"]:
        where = mount["destination"]
        if "rbind" in mount["options"]:
            if where in files:
                yield from _file(root + where)
            yield from _hung(next(left), root + where, kept[where] | _flags(mount))
        else:
            yield from _file_system(root + where, mount)
    yield _closed()
    yield from _devices(f"{root}/dev")
    for name, target in _LINKS.items():
        yield Call(f"symlink {name}", _SYMLINK, (target, f"{root}/dev/{name}"))
    yield from _root(root)
    for name in plan["read_only"]:
        yield from _read_only(name, plan)
    for name in plan["masked"]:
        yield from _masked(name)
    yield Call("capset", _CAPSET, (struct.pack("=Ii", _CAP_VERSION, 0), bytes(24)))
    yield Call("prctl", _PRCTL, (_NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def _hung(tree: int, target: str, flags: int) -> Iterator[Call]:
    """Hang a tree at ``target``. A volume above it may hold a link on the way, which would lead the mount out of the
    files of a sandbox, over the programs of its cell. It may change meanwhile, too, so that ``target`` is resolved
    once."""
    where = target.removeprefix(CELL)
    yield from _opened(target)
    onto = (tree, "", _PLACE, "", _EMPTY_PATH | _ONTO_EMPTY_PATH)
    yield Call(f"move_mount {where}", _MOVE_MOUNT, onto)
    flags |= linux.MS_BIND | linux.MS_REMOUNT
    yield _mount("none", f"/proc/self/fd/{tree}", flags=flags)  # of the mount itself, wherever it hangs


def _file(target: str) -> Iterator[Call]:
    """What a file covers, made where it is missing."""
    folder, name = posixpath.split(target)
    yield from _opened(folder)
    made = (_PLACE, name, stat.S_IFREG | 0o644, 0)
    yield Call(f"mknod {target.removeprefix(CELL)}", _MKNODAT, made, (errno.EEXIST, errno.EROFS))


def _opened(path: str) -> Iterator[Call]:
    """Have ``path`` as ``_PLACE``. With a link on the way it fails: paths are real ones."""
    yield _closed()
    what = f"no link may lead to {path.removeprefix(CELL)}"
    yield Call(what, _OPENAT2, (_HERE, path, _NO_LINKS, len(_NO_LINKS)))


def _closed() -> Call:
    return Call("close", _CLOSE, (_PLACE,), (errno.EBADF,))


def _mount(
    source: str, target: str, *, kind: str | None = None, flags: int = 0, data: str | None = None,
    tolerated: tuple[int, ...] = (),
) -> Call:  # fmt: skip
    return Call(f"mount {target}", _MOUNT, (source, target, kind, flags, data), tolerated)


def _flags(mount: Mapping[str, Any]) -> int:
    return sum(_FLAGS[word] for word in mount["options"] if word in _FLAGS)


def _file_system(target: str, mount: Mapping[str, Any]) -> Iterator[Call]:
    data = ",".join(word for word in mount["options"] if word not in _FLAGS and word != "newinstance")
    yield Call(f"mkdir {target}", _MKDIR, (target, 0o755), (errno.EEXIST,))
    yield _mount(mount["source"], target, kind=mount["type"], flags=_flags(mount), data=data or None)


def _devices(folder: str) -> Iterator[Call]:
    for name in _DEVICES:
        yield Call(f"mknod {name}", _MKNOD, (f"{folder}/{name}", stat.S_IFREG | 0o644, 0))
        yield _mount(f"/dev/{name}", f"{folder}/{name}", flags=linux.MS_BIND)


def _root(folder: str) -> Iterator[Call]:
    """Make a mount the root, and let go of the old one."""
    yield Call("chdir", _CHDIR, (folder,))
    yield Call("pivot_root", _PIVOT_ROOT, (".", "."))
    yield Call("umount", _UMOUNT, (".", linux.MNT_DETACH))
    yield Call("chdir", _CHDIR, ("/",))


def _read_only(path: str, plan: Plan) -> Iterator[Call]:
    """Nothing may be changed below; not every kernel has each of them."""
    above = next(mount for mount in plan["mounts"] if path.startswith(f"{mount['destination']}/"))
    flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | _RELATIVE_ATIME | _flags(above)
    yield _mount(path, path, flags=linux.MS_BIND, tolerated=(errno.ENOENT,))
    yield _mount("none", path, flags=flags, tolerated=(errno.ENOENT,))


def _masked(path: str) -> Iterator[Call]:
    """Of these two calls the one fits files, the other folders."""
    yield _mount("/dev/null", path, flags=linux.MS_BIND, tolerated=(errno.ENOENT, errno.ENOTDIR))
    yield _mount("tmpfs", path, kind="tmpfs", flags=linux.MS_RDONLY, tolerated=(errno.ENOENT, errno.ENOTDIR))
