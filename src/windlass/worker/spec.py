"""What a container shall be, as one OCI document. Pure: facts in, document out; nothing here touches the machine.

The document is written for a runtime that runs inside the node namespace: ids are the node's (container root is the
node's 1, which is nobody on the host) and the root file system is a mount that exists already. No network namespace is
named: the runtime itself is started in the container's. That namespace belongs to the node's user namespace, and a
runtime that joins the container's user namespace first (as ``runc exec`` does) may no longer enter it.
"""
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from windlass import exception

LIBRARY = "/__windlass/lib"
CODE = "/root"
SERVER = "/__windlass/run"
PLAN = "/__windlass/plan.json"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

IDS = 65535  # ids of a container
OWNER = 1  # its root, as the node numbers it
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ORT_INTRA_OP_NUM_THREADS")
_ENVIRONMENT_LEAST, _ENVIRONMENT_MOST = 128 * 1024, 6 * 1024 * 1024  # the kernel's own numbers
_VARIABLE = 10  # bytes that each variable takes beside its name and value: "=", a zero and a pointer
_ARGUMENTS = 8 * 1024  # room for those of the runner
_SHARED_MEMORY_LEAST = 64 * 1024 * 1024
_OPEN_FILES = 65536
_MORE_LIKELY_KILLED = 500  # of the host's processes, ours are to die first

CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID",
    "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
_STEP_CAPABILITIES = (*CAPABILITIES, "CAP_SETFCAP")  # packages may give their files capabilities
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
    "/sys/fs/cgroup",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Bind(NamedTuple):
    """A file or folder of the node, seen read-only at ``target`` inside unless it is ``writable``; or a ``device``."""

    source: Path
    target: str
    writable: bool = False
    device: bool = False


class Box(NamedTuple):
    """A process and the walls around it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    rootfs: Path
    binds: Sequence[Bind]
    memory: int
    """Bytes that it may use, for the size of /dev/shm."""
    open_files: int
    """What the host allows one process at most."""
    seccomp: Mapping[str, Any] | None
    building: bool = False
    sys: Path = Path("/sys")
    """What to show as /sys. The runtime cannot make one: that takes the owner of the network namespace, the node."""
    cgroup: str = ""
    """The control group to make, or "" for the runtime's choice."""
    uid: int = 0
    gid: int = 0
    groups: Sequence[int] = ()
    """Further groups of the process."""


def environment(image: Mapping[str, str], plan: Mapping[str, str], *, cpus: float) -> dict[str, str]:
    """The variables of a container: ours, then the image's, then the function's; later ones win."""
    threads = str(max(1, math.ceil(cpus)))
    return {
        "PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "WINDLASS_PLAN": PLAN,
        **dict.fromkeys(_THREADS, threads), **image, **plan,
    }  # fmt: skip


def check_room(env: Mapping[str, str], *, stack: int) -> None:
    """Refuse an environment with which no program can be started, before the kernel does it without saying which.

    ``stack``: the limit of a program's stack, in bytes, of which the kernel gives arguments and environment a quarter;
    less than 0 where there is none.
    """
    most = _ENVIRONMENT_MOST if stack < 0 else min(max(stack // 4, _ENVIRONMENT_LEAST), _ENVIRONMENT_MOST)
    size = sum(len(os.fsencode(name)) + len(os.fsencode(value)) + _VARIABLE for name, value in env.items())
    if size > most - _ARGUMENTS:
        raise exception.RequestSizeError(
            f"the environment, secrets included, has {size:,} bytes; no program here can start with more than "
            f"{most:,}. Put large values into a Volume."
        )


def search_path(own: str) -> str:
    """``PYTHONPATH`` of what is started beside a runner, whose own is ``own``: as ``runner.boot`` hands it down."""
    return ":".join(filter(None, (CODE, own, LIBRARY)))


def document(box: Box) -> dict[str, Any]:
    """The ``config.json`` of the bundle."""
    linux: dict[str, Any] = {
        "uidMappings": [{"containerID": 0, "hostID": OWNER, "size": IDS}],
        "gidMappings": [{"containerID": 0, "hostID": OWNER, "size": IDS}],
        "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "user")],
        "maskedPaths": list(MASKED),
        "readonlyPaths": list(READ_ONLY),
        "rootfsPropagation": "private",
    }
    if box.cgroup:
        linux["cgroupsPath"] = box.cgroup
    if box.seccomp is not None:
        linux["seccomp"] = box.seccomp
    return {
        "ociVersion": "1.0.2",
        "process": _process(box),
        "root": {"path": str(box.rootfs), "readonly": False},
        "hostname": box.name[:63],
        "mounts": mounts(box),
        "linux": linux,
    }


def _process(box: Box) -> dict[str, Any]:
    capabilities = list(_STEP_CAPABILITIES if box.building else CAPABILITIES)
    files = min(_OPEN_FILES, box.open_files)
    return {
        "terminal": False,
        "user": {"uid": box.uid, "gid": box.gid, **({"additionalGids": list(box.groups)} if box.groups else {})},
        "args": list(box.argv),
        "env": [f"{name}={value}" for name, value in box.env.items()],
        "cwd": box.cwd or "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        "noNewPrivileges": True,
        "oomScoreAdj": _MORE_LIKELY_KILLED,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": files, "hard": files}],
    }


def mounts(box: Box) -> list[dict[str, Any]]:
    """What lies over the root file system, in the words of the document."""
    shared = max(_SHARED_MEMORY_LEAST, box.memory // 2)
    safe = ["nosuid", "noexec", "nodev"]
    return [
        _mount("/proc", "proc", safe),
        _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/dev/shm", "tmpfs", [*safe, "mode=1777", f"size={shared}"], source="shm"),
        _mount("/dev/mqueue", "mqueue", safe),
        _mount("/sys", "none", ["rbind", "nosuid", "noexec", "nodev", "ro"], source=str(box.sys)),
        *(_bind(bind) for bind in box.binds),
    ]


def _bind(bind: Bind) -> dict[str, Any]:
    options = ["rbind", "rw" if bind.writable else "ro", "nosuid", "noexec" if bind.device else "nodev"]
    return _mount(bind.target, "none", options, source=str(bind.source))


def _mount(target: str, kind: str, options: list[str], *, source: str = "") -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source or kind, "options": options}
