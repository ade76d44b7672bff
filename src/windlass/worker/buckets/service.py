"""The buckets of this worker's containers: one rclone for each, in the node, whose mount the container sees.

    <view>/buckets/<container id>-<n>    where it is mounted in the node, in memory: never below a folder that is
                                         removed with what it holds
    containers/<id>/buckets.json         the processes, for the next worker: they outlive this one, as containers do
    containers/<id>/bucket-<n>.log       what it complained of

rclone lives in the node's network, not in the container's: it reaches what the machine reaches, unless somebody else
than the owner named the bucket (``fence.py``). What listens on the machine's loopback is passed on by relays, as for
build steps.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from windlass import exception
from windlass.kit import descriptors, tasks
from windlass.wire.messages import buckets, containers
from windlass.worker import folder as folders
from windlass.worker import linux, network, programs, release, spec, userns
from windlass.worker.buckets import fence as fences
from windlass.worker.buckets import rclone
from windlass.worker.images import relay

FUSE = Path("/dev/fuse")
_FILE = "buckets.json"
_START = 10.0  # seconds until it is mounted
_ANSWER = 30.0  # seconds for the first listing; a bucket that takes longer is there, but large
_END = (20.0, 5.0)  # seconds to end: what is on its way to the bucket arrives; then when it is asked to
_LOOK = 0.01
_LINES = 10_000  # of a listing: its end says what is wrong, if anything
_log = logging.getLogger(__name__)


class _Process(TypedDict):
    """``fence``: what it stands behind, for the next worker."""

    pid: int
    started: int
    fence: fences.Fence


class Buckets:
    """``view``: the node's own tree in memory (``pause.view``)."""

    def __init__(self, view: Path, relays: relay.Relays, pool: network.NetworkPool) -> None:
        self._root = view / "buckets"
        self._fences = fences.Fences(pool, relays, _log.warning)

    def retain(self, living: Sequence[str]) -> None:
        """Unmount what belongs to no container."""
        for place in self._places():
            if place.name.rpartition("-")[0] not in living:
                _unmount(place)

    @contextlib.asynccontextmanager
    async def open(self, plan: containers.ContainerPlan, folder: folders.Folder) -> AsyncIterator[list[spec.Bind]]:
        """Binds for a container's buckets, which are there while the block runs, and after the worker's end.

        Raises:
            ExecutionError: this machine cannot mount any, or a bucket does not let itself be mounted.
        """
        wanted = plan.get("buckets", [])
        if not wanted:
            yield []
            return
        check()
        processes: list[_Process] = []
        async with contextlib.AsyncExitStack() as held:
            lines: list[tuple[fences.Fence, list[str]]] = []
            for number, one in enumerate(wanted):
                fence = fences.of(one, network.of_part(folder.container_id, number))
                lines.append((fence, await held.enter_async_context(self._fences.up(fence, one))))
            await held.enter_async_context(release.on_end_async(lambda: self._close(folder.container_id, processes)))
            for number, (one, (fence, line)) in enumerate(zip(wanted, lines, strict=True)):
                place = self._place(folder.container_id, number)
                log = folder.path / f"bucket-{number}.log"
                process = _started([*line, *rclone.mounting(one, place)], one, fence, log)
                processes.append(process)
                _keep(folder, processes)
                await _mounted(one, place, process, line=line, log=log)
            yield [
                spec.Bind(self._root / f"{folder.container_id}-{number}", one["path"], writable=not one["read_only"])
                for number, one in enumerate(wanted)
            ]

    @contextlib.asynccontextmanager
    async def adopted(self, folder: folders.Folder) -> AsyncIterator[None]:
        """Go on with those of a container of an earlier worker."""
        processes = _kept(folder)
        async with contextlib.AsyncExitStack() as held:
            for one in processes:
                await held.enter_async_context(self._fences.up(one["fence"], None))
            await held.enter_async_context(release.on_end_async(lambda: self._close(folder.container_id, processes)))
            yield

    async def _close(self, container_id: str, processes: list[_Process]) -> None:
        for place in self._places():
            if place.name.rpartition("-")[0] == container_id:
                _unmount(place)
        await asyncio.gather(*(_ended(one) for one in processes))

    def _place(self, container_id: str, number: int) -> Path:
        """A new folder to mount at, that users of containers can reach, whatever the worker's umask."""
        self._root.mkdir(exist_ok=True)
        self._root.chmod(0o711)
        place = self._root / f"{container_id}-{number}"
        place.mkdir()
        return place

    def _places(self) -> list[Path]:
        try:
            return [self._root / name for name in sorted(os.listdir(self._root))]  # noqa: PTH208 - nothing is looked at
        except FileNotFoundError:
            return []


def check() -> None:
    """Raise ``ExecutionError`` where this machine cannot mount buckets. The tools are looked for in the node."""
    for name in (rclone.PROGRAM, "fusermount3"):
        if not any(Path(folder, name).exists() for folder in programs.FOLDERS):
            raise programs.missing(name)
    if not os.access(FUSE, os.R_OK | os.W_OK):
        raise exception.ExecutionError(
            f"buckets cannot be mounted: {FUSE} may not be opened", hint=f"As root: modprobe fuse; chmod 666 {FUSE}"
        )


def _started(line: Sequence[str], plan: buckets.BucketPlan, fence: fences.Fence, log: Path) -> _Process:
    """A child that outlives the worker. Its secrets are in its environment, which only its user can read."""
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as said:
        child = subprocess.Popen(
            line, env=rclone.environment(plan), cwd="/", stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    return {"pid": child.pid, "started": folders.start_time(child.pid), "fence": fence}


async def _mounted(
    plan: buckets.BucketPlan, place: Path, process: _Process, *, line: Sequence[str], log: Path
) -> None:  # fmt: skip
    """Wait until it is there, and the bucket has answered."""
    async with tasks.Tasks(lambda name, exc: None) as both:
        looking = both.start(_looked(plan, line), "listing of a bucket")
        deadline = asyncio.get_running_loop().time() + _START
        while not _is_mounted(place):
            late = asyncio.get_running_loop().time() > deadline
            if late or not folders.alive(process["pid"], process["started"]):
                why = rclone.complaint(log.read_text(errors="replace"))
                raise _failure(plan, why or ("rclone did not mount it in time" if late else "rclone ended"))
            await asyncio.sleep(_LOOK)
        await looking


async def _looked(plan: buckets.BucketPlan, line: Sequence[str]) -> None:
    """Raise ``ExecutionError`` where it cannot be listed."""
    said: list[str] = []
    try:
        code = await userns.supervise(
            [*line, *rclone.listing(plan)], env=rclone.environment(plan), timeout=_ANSWER,
            log=lambda text: said.append(text) if len(said) < _LINES else None,
        )  # fmt: skip
    except exception.TimeoutError:
        return  # a service that does not answer fails sooner: it is there, but large
    if code:
        raise _failure(plan, rclone.complaint("".join(said)) or f"rclone ended with {code}")


def _failure(plan: buckets.BucketPlan, why: str) -> exception.ExecutionError:
    where = plan["endpoint"] or "S3"
    return exception.ExecutionError(
        f"bucket {plan['bucket']!r} of {where} cannot be mounted at {plan['path']}: {why}",
        hint="Check its name, the endpoint and the Secret; the machine itself must reach the endpoint.",
    )


def _is_mounted(place: Path) -> bool:
    """Without a look at the place itself: it would hang where the service does not answer."""
    return any(line.split(" ")[4] == str(place) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _unmount(place: Path) -> None:
    """Take it away: rclone sends what it has, and ends."""
    with contextlib.suppress(OSError):
        linux.unmount(place)
    try:
        place.rmdir()  # never what it holds
    except OSError as exc:
        _log.warning("%s stays: %s", place, exc)


async def _ended(process: _Process) -> None:
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
def _descriptor(process: _Process) -> Iterator[int | None]:
    descriptor = folders.open_pid(process["pid"], process["started"])
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _keep(folder: folders.Folder, processes: list[_Process]) -> None:
    draft = folder.path / f"{_FILE}.new"
    draft.write_text(json.dumps(processes))
    draft.rename(folder.path / _FILE)


def _kept(folder: folders.Folder) -> list[_Process]:
    try:
        found = json.loads((folder.path / _FILE).read_text())
    except (FileNotFoundError, ValueError):
        return []
    for one in found:
        if "endpoint" in one:  # an older version's, which had no fences
            one["fence"] = fences.none(one.pop("endpoint"))
    return list(found)
