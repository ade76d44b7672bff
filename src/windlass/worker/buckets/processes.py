"""The two programs of each bucket: rclone, and the ``sieve`` between it and the kernel. They outlive the worker, as
containers do; ``containers/<id>/buckets.json`` names them for the next one.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypedDict

from windlass import exception
from windlass.kit import descriptors
from windlass.wire.messages import buckets
from windlass.worker import folder as folders
from windlass.worker import linux
from windlass.worker.buckets import fence as fences
from windlass.worker.buckets import rclone, sieve

FUSE = Path("/dev/fuse")
_FILE = "buckets.json"
_END = (20.0, 5.0)  # seconds to end: what is on its way to the bucket arrives; then when it is asked to
_NOWHERE = fences.none("")  # a sieve has no network


class Process(TypedDict):
    """``fence``: what it stands behind, for the next worker."""

    pid: int
    started: int
    fence: fences.Fence


def begin(
    plan: buckets.BucketPlan, place: Path, *, line: Sequence[str], fence: fences.Fence, log: Path
) -> tuple[list[Process], IO[bytes]]:  # fmt: skip
    """Mount it at ``place``, and start what answers there, behind the ``line``'s fence. What is returned beside them
    says a byte when the mount can be used, or ends.

    Raises:
        ExecutionError: this machine cannot.
    """
    with contextlib.ExitStack() as held:
        said = held.enter_context(os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb"))
        device = os.open(FUSE, os.O_RDWR | os.O_CLOEXEC)
        held.callback(os.close, device)
        ours, theirs = (held.enter_context(end) for end in _pair())
        _mount(plan, place, device)
        argv = [*line, *rclone.serving(plan, theirs.fileno())]
        mounting = _started(argv, rclone.environment(plan), said, passed=[theirs.fileno()])
        argv = [sys.executable, "-S", "-E", sieve.__file__, str(device), str(ours.fileno())]
        sifting = _started(argv, {}, said, passed=[device, ours.fileno()], answers=True)
    assert sifting.stdout is not None
    return [_noted(mounting, fence), _noted(sifting, _NOWHERE)], sifting.stdout


def _pair() -> tuple[socket.socket, socket.socket]:
    """One packet for each message, as the device has it. A machine that lets none be that large is refused: who waits
    for a message that cannot be sent would wait for ever."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * sieve.LARGEST)  # as far as the machine lets us
    if ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < sieve.LARGEST:
        ours.close()
        theirs.close()
        raise exception.ExecutionError(
            "buckets cannot be mounted: this machine's sockets take too little at once",
            hint="As root: sysctl net.core.wmem_max=212992 (or more)",
        )
    return ours, theirs


def _mount(plan: buckets.BucketMount, place: Path, device: int) -> None:
    flags = linux.MS_NOSUID | linux.MS_NODEV | (linux.MS_RDONLY if plan["read_only"] else 0)
    source = f"{plan['bucket']}/{plan['prefix']}".rstrip("/")
    data = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    linux.mount(source, place, kind="fuse.rclone", flags=flags, data=data)


def _started(
    argv: Sequence[str], env: Mapping[str, str], log: IO[bytes], *, passed: Sequence[int], answers: bool = False
) -> subprocess.Popen[bytes]:  # fmt: skip
    """A child that outlives the worker. Secrets are in its environment, which only its user can read."""
    return subprocess.Popen(
        argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if answers else log, stderr=log,
        pass_fds=passed, start_new_session=True,
    )  # fmt: skip


def _noted(child: subprocess.Popen[bytes], fence: fences.Fence) -> Process:
    return {"pid": child.pid, "started": folders.start_time(child.pid), "fence": fence}


async def ended(process: Process) -> None:
    """Wait for its end, and see to it."""
    with _descriptor(process) as descriptor:
        if descriptor is None:
            return
        for patience, number in zip((*_END, None), (0, signal.SIGTERM, signal.SIGKILL), strict=True):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(descriptors.ready(descriptor), patience)
                break
        with contextlib.suppress(ChildProcessError):  # of an earlier worker
            os.waitpid(process["pid"], os.WNOHANG)


@contextlib.contextmanager
def _descriptor(process: Process) -> Iterator[int | None]:
    descriptor = folders.open_pid(process["pid"], process["started"])
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def keep(folder: folders.Folder, processes: Sequence[Process]) -> None:
    """Write them down for the next worker."""
    draft = folder.path / f"{_FILE}.new"
    draft.write_text(json.dumps(processes))
    draft.rename(folder.path / _FILE)


def kept(folder: folders.Folder) -> list[Process]:
    """Those of a container of an earlier worker."""
    try:
        found = json.loads((folder.path / _FILE).read_text())
    except (FileNotFoundError, ValueError):
        return []
    for one in found:
        if "endpoint" in one:  # an older version's, which had no fences
            one["fence"] = fences.none(one.pop("endpoint"))
    return list(found)
