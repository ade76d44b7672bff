"""What the first process of a virtual machine does before commands come: modules, the sandbox's files, links.

Standard library alone, as all that runs there.
"""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _MOVE, _REC = 1, 2, 4, 8, 32, 4096, 8192, 16384
_FINIT_MODULE = 313
_ROOT, _TAG = "/box", "box"
_USED = ("/modules", "/python", "/code")
_DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
          "ptmx": "pts/ptmx"}  # fmt: skip
_THREADS, _OWN_THREADS = "/proc/sys/kernel/threads-max", 256
_OVERCOMMIT = "/proc/sys/vm/overcommit_memory"
_SIOCADDRT, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x890B, 0x8914, 0x8916, 0x891C
_UP, _ROUTE_UP_GATEWAY, _ROUTE = 1, 3, "<Q16s16s16sH62x"


def load() -> None:
    """The kernel's own file systems, and its modules."""
    for kind, target in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
        try:
            mount(kind, target, kind)
        except OSError as exc:
            if exc.errno != errno.EBUSY:  # the kernel may have done it
                raise
    _modules()
    sys.stdout.flush()
    for folder in _USED:
        _remove(folder)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = [word.encode() if word else None for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount of {target}: {os.strerror(code)}")


def _modules() -> None:
    """Load what the kernel has as modules. They need each other, so those that could not be loaded are tried again."""
    left, why = os.listdir("/modules"), {}  # noqa: PTH208
    while left:
        again = [name for name in left if (code := _load(name)) and not why.update({name: code})]
        if len(again) == len(left):
            break
        left = again
    for name in left:
        print(f"windlass: the module {name} cannot be loaded: {os.strerror(why[name])}", flush=True)


def _remove(folder: str) -> None:
    """What has been loaded is there twice."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _remove(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108


def _load(name: str) -> int:
    """The number of the error, or 0."""
    descriptor = os.open(f"/modules/{name}", os.O_RDONLY | os.O_CLOEXEC)
    failed = _libc.syscall(_FINIT_MODULE, descriptor, b"", 0) < 0 and ctypes.get_errno() != errno.EEXIST
    code = ctypes.get_errno() if failed else 0
    os.close(descriptor)
    return code


def furnish(message: dict[str, Any]) -> None:
    """The sandbox's files become the root, for us too; then what a container has over them."""
    os.makedirs(_ROOT, exist_ok=True)  # noqa: PTH103
    mount(_TAG, _ROOT, "virtiofs", _NOSUID | _NODEV)
    for one in message["mounts"]:
        target = _ROOT + one["target"]
        if not os.path.isdir(target):  # noqa: PTH112
            os.mkdir(target, 0o755)  # noqa: PTH102
        mount(one["source"], target, one["kind"], one["flags"], one["data"])
    for name, minor in _DEVICES.items():
        os.mknod(f"{_ROOT}/dev/{name}", 0o020666, os.makedev(1, minor))
        os.chmod(f"{_ROOT}/dev/{name}", 0o666)  # noqa: PTH101
    os.mknod(f"{_ROOT}/dev/tty", 0o020666, os.makedev(5, 0))
    os.chmod(f"{_ROOT}/dev/tty", 0o666)  # noqa: PTH101
    for name, target in _LINKS.items():
        os.symlink(target, f"{_ROOT}/dev/{name}")  # noqa: PTH211
    os.chdir(_ROOT)
    mount(".", "/", "", _MOVE)
    os.chroot(".")
    os.chdir("/")
    _limit(message["pids"])
    for path in message["read_only"]:
        if os.path.exists(path):  # noqa: PTH110
            mount(path, path, "", _BIND | _REC)
            mount("none", path, "", _BIND | _REMOUNT | _RDONLY | _NOSUID | _NODEV | _NOEXEC)
    for path in message["masked"]:
        if os.path.isdir(path):  # noqa: PTH112
            mount("tmpfs", path, "tmpfs", _RDONLY)
        elif os.path.exists(path):  # noqa: PTH110
            mount("/dev/null", path, "", _BIND)
    socket.sethostname(message["hostname"])


def _limit(pids: int) -> None:
    """What is asked for is given, as where memory is plenty; who uses too much of it is killed, as in a container."""
    with open(_THREADS) as file:  # noqa: PTH123
        now = int(file.read())
    for path, value in ((_THREADS, min(now, pids + _OWN_THREADS)), (_OVERCOMMIT, 1)):
        with open(path, "w") as file:  # noqa: PTH123
            file.write(str(value))


def connect(message: dict[str, Any]) -> None:
    """Its links have addresses. ``network``: address, mask and gateway of the link outwards; absent where none is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        _ask(asking, _SIOCSIFFLAGS, b"lo", struct.pack("<H14x", _UP))
        if message.get("own"):
            _address(asking, b"lo:0", message["own"], "255.255.255.255")
        if outward := message.get("network"):
            _address(asking, b"eth0", outward["address"], outward["mask"])
            _ask(asking, _SIOCSIFFLAGS, b"eth0", struct.pack("<H14x", _UP))
            gate, anywhere = _place(outward["gateway"]), _place("0.0.0.0")
            route = struct.pack(_ROUTE, 0, anywhere, gate, anywhere, _ROUTE_UP_GATEWAY)
            fcntl.ioctl(asking, _SIOCADDRT, route)


def _address(asking: socket.socket, name: bytes, address: str, mask: str) -> None:
    _ask(asking, _SIOCSIFADDR, name, _place(address))
    _ask(asking, _SIOCSIFNETMASK, name, _place(mask))


def _place(address: str) -> bytes:
    return struct.pack("<HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _ask(asking: socket.socket, number: int, name: bytes, body: bytes) -> None:
    try:
        fcntl.ioctl(asking, number, struct.pack("16s16s8x", name, body))
    except OSError as exc:
        raise OSError(exc.errno, f"link {name.decode()}: {exc.strerror}") from None
