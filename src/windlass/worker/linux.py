"""The few system calls for namespaces and mounts that Python 3.10 does not offer, through libc."""
from __future__ import annotations

import ctypes
import errno
import os
import platform
import select
import signal
import threading
from pathlib import Path

FS = 0x00000200
NEWNS = 0x00020000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

CAPABILITIES = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4, "CAP_KILL": 5, "CAP_SETGID": 6,
    "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_CHROOT": 18,
}  # fmt: skip
"""Numbers of those that containers may have."""
_KEPT = {
    MS_NOSUID: os.ST_NOSUID, MS_NODEV: os.ST_NODEV, MS_NOEXEC: os.ST_NOEXEC,
    0x400: os.ST_NOATIME, 0x800: os.ST_NODIRATIME, 0x200000: os.ST_RELATIME,
}  # fmt: skip
_PDEATHSIG, _SET_DUMPABLE = 1, 4
_OPEN_TREE, _MOVE_MOUNT, _CLOSE_RANGE, _HERE = 428, 429, 436, -100  # the same numbers on all kinds of processors
_EXPIRE, _BENEATH = 0x4, 0x200
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Leave the namespaces of ``flags`` for new ones. A network namespace changes for the calling thread only."""
    _check(_libc.unshare(flags), "unshare")


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends. A change of user undoes it."""
    _check(_libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def set_dumpable(can_be: bool) -> None:
    """Whether others of this user may trace this process, and its files in /proc are this user's."""
    _check(_libc.prctl(_SET_DUMPABLE, int(can_be), 0, 0, 0), "prctl")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace of ``descriptor``. A network namespace changes for the calling thread only; of a pid
    namespace, the children do."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str | Path, target: str | Path, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {target}")


def bind(source: str | Path, target: str | Path, *, recursive: bool = False) -> None:
    """Show ``source`` at ``target`` as well."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))


def bind_read_only(path: Path) -> None:
    """Let nothing below this mount namespace change ``path`` (of a device: its owner and mode)."""
    bind(path, path)
    # What a mount forbids already may not be allowed again from inside a user namespace.
    kept = sum(flag for flag, mounted in _KEPT.items() if os.statvfs(path).f_flag & mounted)
    mount("none", path, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def unmount(target: str | Path) -> None:
    """Take the mount at ``target`` away; who still uses it keeps it."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def close_range(first: int, last: int) -> None:
    """Close all descriptors from ``first`` to ``last``, in one call where the kernel has it."""
    if _libc.syscall(_CLOSE_RANGE, first, last, 0) < 0:
        os.closerange(first, last + 1)


def unmount_unused(target: str) -> None:
    """Take the mount at ``target`` away, which must be no link. Raises ``OSError`` (EBUSY) where something uses it."""
    _check(_libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW), f"umount {target}")


def is_unused(target: str) -> bool | None:
    """Whether nothing uses the mount at ``target``, which must be no link. None where that took it away.

    It is marked for removal, which any use takes back; a mount that has the mark already goes.
    """
    try:
        _check(_libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW | _EXPIRE), f"umount {target}")
    except OSError as exc:
        if exc.errno == errno.EAGAIN:
            return True
        if exc.errno == errno.EBUSY:
            return False
        raise
    return None


def give_way() -> None:
    """Let this thread run, and read, only when nobody else wants to."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        _libc.syscall(number, 1, 0, 3 << 13)  # this thread, class "idle"; it is no harm where that fails


def unmount_here(name: str) -> None:
    """Take the mount at ``name`` away, which must be no link; who still uses it keeps it."""
    _check(_libc.umount2(os.fsencode(name), MNT_DETACH | UMOUNT_NOFOLLOW), f"umount {name}")


def readable(descriptor: int, seconds: float) -> bool:
    """Whether something can be read, or the other end is gone, within that time. ``select`` takes no descriptor beyond
    1023, and a machine full of containers has more."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def open_tree(path: str | Path) -> int:
    """A descriptor of a copy of the mounts at ``path``, which hangs nowhere yet."""
    flags = 0x1 | 0x8000 | os.O_CLOEXEC  # clone, recursive
    descriptor = int(_libc.syscall(_OPEN_TREE, _HERE, os.fsencode(path), flags))
    _check(descriptor, f"open_tree {path}")
    return descriptor


def move_mount(tree: int, target: str | Path) -> None:
    """Hang what ``open_tree`` gave in at ``target``."""
    result = _libc.syscall(_MOVE_MOUNT, tree, b"", _HERE, os.fsencode(target), 0x4)
    _check(result, f"move_mount {target}")


def hang(tree: int, folder: int) -> None:
    """Hang what ``open_tree`` gave in over the folder of a descriptor."""
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", folder, b"", 0x4 | 0x40), "move_mount")


def hang_beneath(tree: int, folder: int, name: str) -> None:
    """Hang what ``open_tree`` gave in below the mount at ``name`` in a folder. It is seen when that is taken away.

    Raises ``OSError``: EINVAL from kernels before Linux 6.5, and where the mount cannot have another one below it.
    """
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", folder, os.fsencode(name), 0x4 | _BENEATH), "move_mount")
