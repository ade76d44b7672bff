"""A cell: the namespaces and mounts that wait for one fork. Made by a process of the keeper's.

    keeper ── fork ──► maker, one a family: enters the user namespace of the family's forks as its root; then,
                       while nobody waits, a ground (``mounting``) and new ipc, uts, net for the next cell
                         └─ clone with new mount, pid ──► process 1 of the cell: mounts, buries orphans

The forks of a family have one user namespace. It is a child of the template's, owned by the template's root: by the
kernel's rules only so may a fork, which has no capabilities that matter, be brought in. Neither maker nor process 1 can
be traced by the family, although it sees their pids: they are not dumpable, and are no programs of its own.

Process 1 makes only system calls that the maker has prepared (``mounting``): each page that Python touches in a new
process is copied, and that was most of what a cell cost.
"""
from __future__ import annotations

import array  # noqa: F401 - ``socket.recv_fds`` imports it, and on its ground a maker finds no files
import contextlib
import ctypes
import gc
import json
import os
import random
import signal
import socket
import struct
from pathlib import Path
from typing import Any, NoReturn

from windlass.worker import linux
from windlass.worker.snapshots import mounting

_IDS = 65535
_PARTS = linux.NEWNS | linux.NEWPID
_AHEAD = linux.NEWIPC | linux.NEWUTS | linux.NEWNET
_CLONE = 56
_PACKET, _DESCRIPTORS, _MOST = 256 * 1024, 32, 65535
_LEAST_PID, _PIDS = 300, 30_000
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
Plan = mounting.Plan


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
        linux.set_dumpable(True)  # else its files in /proc are the node root's, who is nobody here
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


class Maker:
    """The maker as the keeper sees it. Made when no more processes than its own may be in the family's pid namespace:
    the caller's children are there, and the caller is not dumpable. ``once``: it makes one cell."""

    def __init__(self, userns: int, *, once: bool = False) -> None:
        self._talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            _serve(theirs, userns, once=once)
        theirs.close()

    def close(self) -> None:
        """Cells live on."""
        self._talk.close()
        os.waitpid(self._pid, 0)

    def make(self, plan: Plan, say: socket.socket) -> None:
        """Begin a cell. Its process 1 tells ``say`` when all is done: "ok", or why it is not; the kernel adds who says
        it. Raises ``OSError`` when there is no maker any more."""
        binds = [mount for mount in plan["mounts"] if "rbind" in mount["options"]]
        trees: list[int] = []
        try:
            trees.append(linux.open_tree(plan["rootfs"]))
            for mount in binds:  # here, because paths to them are closed to the root of a container
                trees.append(linux.open_tree(mount["source"]))
            kept = {mount["destination"]: _kept(mount["source"]) for mount in binds}
            files = [mount["destination"] for mount in binds if not os.path.isdir(mount["source"])]  # noqa: PTH112
            request = json.dumps({"plan": plan, "kept": kept, "files": files}).encode()
            socket.send_fds(self._talk, [request], [say.fileno(), *trees])
        finally:
            for tree in trees:
                os.close(tree)


def _kept(source: str) -> int:
    """What a mount forbids already may not be allowed again from inside a user namespace."""
    had = os.statvfs(source).f_flag
    return sum(flag for flag, mounted in linux._KEPT.items() if had & mounted)


def _serve(talk: socket.socket, userns: int, *, once: bool) -> NoReturn:
    with contextlib.suppress(BaseException):
        _become_root(userns)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # here, and in each process 1, the kernel buries
        null = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        linux.close_range(3, talk.fileno() - 1)
        linux.close_range(talk.fileno() + 1, _MOST)
        trouble = _stand()
        gc.freeze()
        while True:
            data, descriptors, _, _ = socket.recv_fds(talk, _PACKET, _DESCRIPTORS)
            if not data:
                break
            if trouble:
                os.write(descriptors[0], trouble.encode())
            else:
                _begin(json.loads(data), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            if once:
                break
            trouble = trouble or _ahead(_AHEAD)
    os._exit(0)


def _stand() -> str:
    """Lay the ground, and prepare the first cell; why it cannot be done, or ""."""
    if trouble := _ahead(_AHEAD | linux.NEWNS):
        return trouble
    for what, function, arguments, _ in [call.ready() for call in mounting.ground()]:
        if function(*arguments) < 0:
            return f"{what}: {os.strerror(ctypes.get_errno())}"
    return ""


def _ahead(parts: int) -> str:
    """Have new namespaces; why there are none, or ""."""
    try:
        linux.unshare(parts)
    except OSError as exc:
        return f"new namespaces: {exc.strerror or exc}"
    return ""


def _begin(request: dict[str, Any], descriptors: list[int]) -> None:
    """Have process 1 of one cell. A call of the kernel, not of Python, which would prepare it for more than it does."""
    say, trees = descriptors[0], descriptors[1:]
    calls = [call.ready() for call in mounting.calls(request["plan"], trees, request["kept"], request["files"])]
    last_pid = str(_LEAST_PID + random.SystemRandom().randrange(_PIDS)).encode()
    child = _syscall(_CLONE, ctypes.c_long(_PARTS | signal.SIGCHLD), None, None, None, None)
    if child == 0:
        _first(calls, say, last_pid)
    if child < 0:
        os.write(say, f"no process could be made: {os.strerror(ctypes.get_errno())}".encode())


def _first(calls: list[mounting.Ready], say: int, last_pid: bytes) -> NoReturn:
    """Process 1 of the cell."""
    try:
        # A template has a low pid and so would each fork: libraries that notice forks by their pid would not.
        file = os.open("/proc/sys/kernel/ns_last_pid", os.O_WRONLY)
        os.write(file, last_pid)
    except OSError:
        pass
    for what, function, arguments, tolerated in calls:
        if function(*arguments) < 0 and (code := ctypes.get_errno()) not in tolerated:
            os.write(say, f"{what}: {os.strerror(code)}".encode())
            os._exit(1)
    linux.close_range(3, say - 1)
    linux.close_range(say + 1, _MOST)
    os.write(say, b"ok")
    os.close(say)
    while True:
        signal.pause()


def _become_root(userns: int) -> None:
    linux.setns(userns, linux.NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    linux.set_dumpable(False)


def heard(say: socket.socket, timeout: float) -> tuple[str, int]:
    """What process 1 said, and its pid as the caller numbers it."""
    if not linux.readable(say.fileno(), timeout):
        return "the cell was not there in time", 0
    data, extra, _, _ = say.recvmsg(4096, socket.CMSG_SPACE(12))
    for level, kind, body in extra:
        if level == socket.SOL_SOCKET and kind == 2:  # SCM_CREDENTIALS
            return data.decode(errors="replace"), int(struct.unpack("=iII", body[:12])[0])
    return "the cell said nothing", 0
