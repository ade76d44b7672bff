"""A cell: the namespaces and mounts that wait for one fork. Made by the keeper, from processes of its own.

    keeper ── fork ──► maker: enters the user namespace of the family's forks as its root
                         ├─ unshare mount, pid, ipc, uts, net
                         └─ fork ──► process 1 of the cell: mounts, names, then buries orphans

The forks of a family have one user namespace. It is a child of the template's, owned by the template's root: by the
kernel's rules only so may a fork, which has no capabilities that matter, be brought in. Neither maker nor process 1 can
be traced by the family, although it sees their pids: they are not dumpable, and are no programs of its own.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import random
import select
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from windlass.worker import linux

_IDS = 65535
_PARTS = linux.NEWNS | linux.NEWPID | linux.NEWIPC | linux.NEWUTS | linux.NEWNET
_HARMLESS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_STRICT_ATIME = 0x1000000
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
          "ptmx": "pts/ptmx"}  # fmt: skip
_FLAGS = {"nosuid": linux.MS_NOSUID, "nodev": linux.MS_NODEV, "noexec": linux.MS_NOEXEC, "ro": linux.MS_RDONLY,
          "strictatime": _STRICT_ATIME}  # fmt: skip
_PR_SET_DUMPABLE = 4
_LEAST_PID, _PIDS = 300, 30_000
_libc = ctypes.CDLL(None, use_errno=True)


class Plan(TypedDict):
    """``mounts`` in the words of the OCI document; sources are the node's."""

    name: str
    rootfs: str
    mounts: list[dict[str, Any]]
    masked: list[str]
    read_only: list[str]


def user_namespace(family: int) -> int:
    """A descriptor of a new user namespace for the forks of a family. ``family``: that of its template's."""
    said, heard = os.pipe(), os.pipe()
    owner = os.fork()
    if owner == 0:
        _owner(family, said[1], heard[0])
    os.close(said[1])
    try:
        if os.read(said[0], 1) != b"u":
            raise OSError(0, "no user namespace within the family's")
        _written(family, owner)
        return os.open(f"/proc/{owner}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.write(heard[1], b"e")
        os.close(said[0])
        os.close(heard[1])
        os.close(heard[0])
        os.waitpid(owner, 0)


def _owner(family: int, say: int, heard: int) -> NoReturn:
    with contextlib.suppress(BaseException):
        _become_root(family)
        linux.unshare(linux.NEWUSER)
        _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else its files in /proc are the node root's, who is nobody here
        os.write(say, b"u")
        os.close(say)
        os.read(heard, 1)
    os._exit(0)


def _written(family: int, owner: int) -> None:
    """Write the maps of ids of process ``owner``, from within the user namespace above its own."""
    scribe = os.fork()
    if scribe == 0:
        with contextlib.suppress(BaseException):
            _become_root(family)
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{owner}/{name}").write_text(f"0 0 {_IDS}\n")
            os._exit(0)
        os._exit(1)
    if os.waitpid(scribe, 0)[1]:
        raise OSError(0, "the ids of forks were not mapped")


def make(plan: Plan, *, userns: int, say: socket.socket) -> int:
    """Make a cell and return the pid of its maker, which ends at once. ``say``: process 1 tells there when all is
    done: "ok", or why it is not; the kernel adds who says it. The caller is not dumpable, and its children are in
    the family's pid namespace."""
    maker = os.fork()
    if maker:
        return maker
    try:
        # Paths to them are closed to the root of a container.
        trees = {m["destination"]: linux.open_tree(m["source"]) for m in plan["mounts"] if "rbind" in m["options"]}
        _become_root(userns)
        linux.unshare(_PARTS)
        if os.fork() == 0:
            _first(plan, trees, say)
        os._exit(0)
    except BaseException as exc:  # noqa: BLE001 - the edge of a process
        _complain(say, exc)
    os._exit(1)


def _become_root(userns: int) -> None:
    linux.setns(userns, linux.NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _complain(say: socket.socket, exc: BaseException) -> None:
    with contextlib.suppress(OSError):
        say.send(f"{type(exc).__name__}: {exc}"[:1000].encode())


def _first(plan: Plan, trees: Mapping[str, int], say: socket.socket) -> NoReturn:
    """Process 1 of the cell."""
    try:
        # A template has a low pid and so would each fork: libraries that notice forks by their pid would not.
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(_LEAST_PID + random.SystemRandom().randrange(_PIDS)))
    except OSError:
        pass
    try:
        _build(plan, trees)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries orphans
        _forget_descriptors(say.fileno())
        _drop()
        say.send(b"ok")
        say.close()
    except BaseException as exc:  # noqa: BLE001 - the edge of a process
        _complain(say, exc)
        os._exit(1)
    while True:
        signal.pause()


def _build(plan: Plan, trees: Mapping[str, int]) -> None:
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    root = Path(plan["rootfs"])
    linux.bind(root, root)
    for mount in plan["mounts"]:
        _mount(root, mount, trees)
    _devices(root)
    os.chdir(root)
    _check(_libc.syscall(155, b".", b"."), "pivot_root")
    linux.unmount(".")
    os.chdir("/")
    for name in plan["read_only"]:
        with contextlib.suppress(OSError):
            linux.bind_read_only(Path(name))
    for name in plan["masked"]:
        _mask(Path(name))


def _mount(root: Path, mount: dict[str, Any], trees: Mapping[str, int]) -> None:
    target = root / mount["destination"][1:]
    if not target.exists():
        target.mkdir(parents=True)
    options = mount["options"]
    flags = sum(_FLAGS[word] for word in options if word in _FLAGS)
    if "rbind" in options:
        linux.move_mount(trees[mount["destination"]], target)
        _remount(target, flags)
        return
    data = ",".join(word for word in options if word not in _FLAGS and word != "newinstance")
    linux.mount(mount["source"], target, kind=mount["type"], flags=flags, data=data)


def _remount(target: Path, flags: int) -> None:
    kept = sum(flag for flag, mounted in linux._KEPT.items() if os.statvfs(target).f_flag & mounted)
    linux.mount("none", target, flags=linux.MS_BIND | linux.MS_REMOUNT | kept | flags)


def _devices(root: Path) -> None:
    for name in _DEVICES:
        (root / "dev" / name).touch()
        linux.bind(Path("/dev") / name, root / "dev" / name)
    for name, target in _LINKS.items():
        (root / "dev" / name).symlink_to(target)


def _mask(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            linux.mount("tmpfs", path, kind="tmpfs", flags=linux.MS_RDONLY)
        elif path.exists():
            linux.bind("/dev/null", path)


def _forget_descriptors(keep: int) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    linux.close_range(3, keep - 1)
    linux.close_range(keep + 1, 65535)


def _drop() -> None:
    """Process 1 only waits from here on."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, none), "capset")
    _libc.prctl(38, 1, 0, 0, 0)  # no new privileges


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def heard(say: socket.socket, timeout: float) -> tuple[str, int]:
    """What process 1 said, and its pid as the caller numbers it."""
    ready, _, _ = select.select([say], [], [], timeout)
    if not ready:
        return "the cell was not there in time", 0
    data, extra, _, _ = say.recvmsg(4096, socket.CMSG_SPACE(12))
    for level, kind, body in extra:
        if level == socket.SOL_SOCKET and kind == 2:  # SCM_CREDENTIALS
            return data.decode(errors="replace"), int(struct.unpack("=iII", body[:12])[0])
    return "the cell said nothing", 0
