"""A container from inside."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import windlass

app = windlass.App("test-walls")
NAMESPACES = ("pid", "mnt", "ipc", "uts", "net", "user")


def facts() -> dict[str, Any]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return {
        "task": os.environ["MODAL_TASK_ID"],
        "namespaces": {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in NAMESPACES},
        "uid_map": Path("/proc/self/uid_map").read_text().split(),
        "gid_map": Path("/proc/self/gid_map").read_text().split(),
        "uid": os.getuid(),
        "status": status,
        "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "links": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
        "addresses": [line.split()[0] for line in Path("/proc/net/dev").read_text().splitlines()[2:]],
        "environment": dict(os.environ),
        "hostname": socket.gethostname(),
        "root": sorted(os.listdir("/")),
    }


@app.function(cpu=(0.25, 1.5), memory=(96, 300))
def look() -> dict[str, Any]:
    return facts()


@app.function(block_network=True)
def blocked() -> dict[str, Any]:
    return {**facts(), "reach": reach("1.1.1.1", 53)}


@app.function(max_containers=2)
def shell(command: str, seconds: float = 0) -> tuple[str, int, str]:
    """Both streams of a command, its exit code, and the container it ran in."""
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(seconds)
    return done.stdout, done.returncode, os.environ["MODAL_TASK_ID"]


@app.function(max_containers=2)
def shell_in_pairs(command: str) -> tuple[str, str]:
    """Output of a command, and the container it ran in; slow enough that two at once are in two containers."""
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    return done.stdout, os.environ["MODAL_TASK_ID"]


@app.function(max_containers=1)
def reach_all(targets: list[tuple[str, int]]) -> list[str]:
    return [reach(host, port) for host, port in targets]


def reach(host: str, port: int) -> str:
    """What a connection attempt gives: "open", or the name of the error."""
    with socket.socket() as s:
        s.settimeout(3)
        try:
            s.connect((host, port))
            s.sendall(b"hello\n")
            return "open " + s.recv(100).decode()
        except TimeoutError:
            return "timeout"
        except OSError as exc:
            return errno.errorcode.get(exc.errno or 0, str(exc))


@app.function()
def try_calls() -> dict[str, str]:
    """System calls that reach out of a container."""
    libc = ctypes.CDLL(None, use_errno=True)

    def attempt(function: str, *arguments: Any) -> str:
        ctypes.set_errno(0)
        return "done" if getattr(libc, function)(*arguments) >= 0 else errno.errorcode[ctypes.get_errno()]

    os.makedirs("/tmp/m", exist_ok=True)
    results = {
        "mount": attempt("mount", b"none", b"/tmp/m", b"tmpfs", 0, None),
        "umount": attempt("umount2", b"/proc", 2),
        "unshare": attempt("unshare", 0x10000000),
        "setns": attempt("setns", 0, 0),
        "reboot": attempt("reboot", 0),
        "pivot_root": attempt("syscall", 155, b"/", b"/"),
        "bpf": attempt("syscall", 321, 0, None, 0),
        "keyctl": attempt("syscall", 250, 0),
        "io_uring": attempt("syscall", 425, 1, None),
        "mknod": attempt("mknod", b"/tmp/sda", 0o060600, os.makedev(8, 0)),
        "hostname": attempt("sethostname", b"evil", 4),
        "settime": attempt("settimeofday", ctypes.create_string_buffer(16), None),
    }
    for name in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"):
        try:
            Path(name).write_text("x")
            results[name] = "done"
        except OSError as exc:
            results[name] = errno.errorcode[exc.errno or 0]
    return results


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 9))
        return str(s.getsockname()[0])


@app.function(max_containers=1)
def listen(seconds: float) -> Any:
    """A generator: its address first, then how many came."""
    with socket.socket() as s:
        s.bind(("0.0.0.0", 7777))
        s.listen()
        s.settimeout(seconds)
        yield own_address()
        try:
            s.accept()
            yield "somebody came"
        except TimeoutError:
            yield "nobody came"
