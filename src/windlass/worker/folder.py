"""The folder of one container, and the record by which a later worker finds it again.

    containers/<id>/
        record.json      pids and their start times, written once its process runs
        pid, monitor.pid written by the monitor
        log              its output (k8s-file)
        plan.json        what its runner serves
        bundle/          config.json for the runtime, and rootfs (a mount point)
        upper/, work/    its private layer
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from pathlib import Path
from typing import TypedDict

from windlass.kit import files

CONTAINERS, FAMILIES, STEPS = "containers", "families", "building"
_GET_FLAGS, _SET_FLAGS, _TOP_FOLDER = 0x80086601, 0x40086602, 0x20000  # of ioctl_iflags

_EXITING = 0x4  # PF_EXITING, among the flags in /proc/PID/stat


class Record(TypedDict, total=False):
    """What outlives the worker. A pid counts only together with its start time: pids are used again.

    ``uses``: its image and its mounts, which must not be removed meanwhile.
    """

    container_id: str
    pid: int
    pid_start: int
    monitor: int
    monitor_start: int
    memory_limit: int
    block_network: bool
    uses: list[str]
    process: int
    """Of a fork: the process to interrupt; ``pid`` is that whose end ends all."""
    process_start: int


class Folder:
    """Names of the files of one container."""

    def __init__(self, root: Path, container_id: str, *, kind: str = CONTAINERS) -> None:
        self._name(root, container_id, kind)

    def move(self, root: Path, container_id: str) -> None:
        """Become the folder of a container."""
        before = self.path
        self._name(root, container_id, CONTAINERS)
        before.rename(self.path)

    def _name(self, root: Path, container_id: str, kind: str) -> None:
        self.container_id = container_id
        self.path = root / kind / container_id
        self.bundle = self.path / "bundle"
        self.rootfs = self.bundle / "rootfs"
        self.upper = self.path / "upper"
        self.work = self.path / "work"
        self.log = self.path / "log"
        self.plan = self.path / "plan.json"
        self.pid_file = self.path / "pid"
        self.monitor_file = self.path / "monitor.pid"
        self._record = self.path / "record.json"

    def write(self, record: Record) -> None:
        """Keep ``record``, whole or not at all."""
        path = str(self._record)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.new")  # noqa: PTH108
        files.create(f"{path}.new", json.dumps(record).encode())
        os.rename(f"{path}.new", path)  # noqa: PTH104

    def read(self) -> Record | None:
        """The record, or None where its container never ran."""
        try:
            record: Record = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return record


def part(parent: Path) -> None:
    """Have the folders in ``parent`` lie apart on the disk, as users' home folders do (``chattr +T``).

    Only ext4 knows this. Without it all containers have their files in one place there, and each new file is a search
    past those that were deleted in the last minutes, for that file system gives no inode away again so soon: 0.2 ms
    each where many containers have ended.
    """
    flags = bytearray(8)
    with contextlib.suppress(OSError):
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            wanted = int.from_bytes(flags, sys.byteorder) | _TOP_FOLDER
            fcntl.ioctl(descriptor, _SET_FLAGS, wanted.to_bytes(8, sys.byteorder))
        finally:
            os.close(descriptor)


def known(root: Path, kind: str = CONTAINERS) -> list[str]:
    """Ids of all container folders."""
    try:
        return sorted(entry.name for entry in (root / kind).iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def start_time(pid: int) -> int:
    """When process ``pid`` started, in clock ticks since boot; 0 when there is no such process."""
    try:
        fields = files.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def alive(pid: int, started: int) -> bool:
    """Whether the process that had ``pid`` and that start time still lives."""
    return pid > 0 and started > 0 and start_time(pid) == started


def is_ending(pid: int, started: int) -> bool:
    """Whether that process has ended or is on its way out, where nothing can be begun in its namespaces any more."""
    try:
        fields = files.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] in (b"Z", b"X") or int(fields[19]) != started or bool(int(fields[6]) & _EXITING)


def read_pid(path: Path) -> int:
    """The number in a pid file, or 0."""
    try:
        return int(path.read_text().strip() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def open_pid(pid: int, started: int) -> int | None:
    """A file descriptor that means exactly this process, or None when it has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if alive(pid, started):
        return descriptor
    os.close(descriptor)
    return None


def mentions(pid: int, name: str) -> bool:
    """Whether process ``pid`` is of container ``name``: its command line or its mounts say so."""
    try:
        folder = Path(f"/proc/{pid}")
        return name.encode() in (folder / "cmdline").read_bytes() + (folder / "mountinfo").read_bytes()
    except OSError:
        return False


def kill_by_files(name: str, *files: Path) -> None:
    """Kill the processes that pid files of container ``name`` still mean."""
    for file in files:
        if (pid := read_pid(file)) and mentions(pid, name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
