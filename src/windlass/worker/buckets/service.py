"""The buckets of this worker's containers: one mount for each, in the node, which the container sees.

    <view>/buckets/<container id>-<n>    where it is mounted in the node, in memory: never below a folder that is
                                         removed with what it holds
    containers/<id>/bucket-<n>.log       what its programs complained of

What is asked there goes through a ``sieve`` to an rclone (``processes``). That lives in the node's network, not in the
container's: it reaches what the machine reaches, unless somebody else than the owner named the bucket (``fence.py``).
What listens on the machine's loopback is passed on by relays, as for build steps.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO

from windlass import exception
from windlass.kit import descriptors, tasks
from windlass.wire.messages import buckets, containers
from windlass.worker import folder as folders
from windlass.worker import linux, network, programs, release, spec, userns
from windlass.worker.buckets import fence as fences
from windlass.worker.buckets import processes, rclone
from windlass.worker.images import relay

_START = 10.0  # seconds until it is mounted
_ANSWER = 30.0  # seconds for the first listing; a bucket that takes longer is there, but large
_LINES = 10_000  # of a listing: its end says what is wrong, if anything
_log = logging.getLogger(__name__)


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
        living: list[processes.Process] = []
        async with contextlib.AsyncExitStack() as held:
            lines: list[tuple[fences.Fence, list[str]]] = []
            for number, one in enumerate(wanted):
                fence = fences.of(one, network.of_part(folder.container_id, number))
                lines.append((fence, await held.enter_async_context(self._fences.up(fence, one))))
            await held.enter_async_context(release.on_end_async(lambda: self._close(folder.container_id, living)))
            for number, (one, (fence, line)) in enumerate(zip(wanted, lines, strict=True)):
                place = self._place(folder.container_id, number)
                log = folder.path / f"bucket-{number}.log"
                begun, said = processes.begin(one, place, line=line, fence=fence, log=log)
                living += begun
                processes.keep(folder, living)
                with said:
                    await _mounted(one, said, line=line, log=log)
            yield [
                spec.Bind(self._root / f"{folder.container_id}-{number}", one["path"], writable=not one["read_only"])
                for number, one in enumerate(wanted)
            ]

    @contextlib.asynccontextmanager
    async def adopted(self, folder: folders.Folder) -> AsyncIterator[None]:
        """Go on with those of a container of an earlier worker."""
        living = processes.kept(folder)
        async with contextlib.AsyncExitStack() as held:
            for one in living:
                await held.enter_async_context(self._fences.up(one["fence"], None))
            await held.enter_async_context(release.on_end_async(lambda: self._close(folder.container_id, living)))
            yield

    async def _close(self, container_id: str, living: list[processes.Process]) -> None:
        for place in self._places():
            if place.name.rpartition("-")[0] == container_id:
                _unmount(place)
        await asyncio.gather(*(processes.ended(one) for one in living))

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
    if not any(Path(folder, rclone.PROGRAM).exists() for folder in programs.FOLDERS):
        raise programs.missing(rclone.PROGRAM)
    device = processes.FUSE
    if not os.access(device, os.R_OK | os.W_OK):
        raise exception.ExecutionError(
            f"buckets cannot be mounted: {device} may not be opened",
            hint=f"As root: modprobe fuse; chmod 666 {device}",
        )


async def _mounted(plan: buckets.BucketPlan, said: IO[bytes], *, line: Sequence[str], log: Path) -> None:
    """Wait until it can be used, and the bucket has answered."""
    async with tasks.Tasks(lambda name, exc: None) as both:
        looking = both.start(_looked(plan, line), "listing of a bucket")
        try:
            await asyncio.wait_for(descriptors.ready(said.fileno()), _START)
            why = "" if said.read(1) else "rclone ended"
        except asyncio.TimeoutError:
            why = "rclone did not mount it in time"
        if why:
            raise _failure(plan, rclone.complaint(log.read_text(errors="replace")) or why)
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


def _unmount(place: Path) -> None:
    """Take it away: rclone sends what it has, and ends."""
    with contextlib.suppress(OSError):
        linux.unmount(place)
    try:
        place.rmdir()  # never what it holds
    except OSError as exc:
        _log.warning("%s stays: %s", place, exc)
