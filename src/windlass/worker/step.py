"""Build steps: one command in a container on given layers, whose changes stay in a folder.

Unlike other containers a step is a child of the worker and ends with it. It shares the node's network, because package
indexes are often in private ranges.

    changes  (upper)
    names    resolv.conf and hosts of this machine: a layer, so that a step may replace them
    layers   of the image
    stub     mount points that the image lacks, so that none of them appears among the changes
"""
from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.kit import ids, tasks, trees
from windlass.worker import cgroups, overlay, seccomp, spec
from windlass.worker import folder as folders
from windlass.worker.images import owners
from windlass.worker.runtime import oci

Log = Callable[[str], None]

_PIDS = 4096
_MEMORY_SHARE = 0.9  # of the machine's: what keeps the platform alive is not the step's to take
_BURIAL = 20.0  # seconds that the processes of a step may take to end once killed
_DRAIN = 2.0  # seconds that the output may stay open after the command's end
_PLACES = ("dev", "proc", "sys", "tmp", "root")


class Limits(NamedTuple):
    """What a step may use: bytes, cores, seconds."""

    memory: int
    cpu_request: float
    cpu: float | None
    timeout: float | None


class Steps:
    """Runs steps below ``root``. ``names``: the layer with the resolv.conf and hosts that steps see."""

    def __init__(
        self, root: Path, *, runtime: oci.Oci, groups: cgroups.Cgroups, names: Path, memory: int
    ) -> None:
        self._root = root / "steps"
        self._runtime = runtime
        self._groups = groups
        self._memory = int(memory * _MEMORY_SHARE)
        self._names = names
        self._profile = seccomp.profile()

    async def run(
        self,
        argv: Sequence[str],
        *,
        lowers: Sequence[Path],
        upper: Path,
        env: Mapping[str, str],
        cwd: str = "/",
        binds: Sequence[spec.Bind] = (),
        log: Log,
        timeout: float | None = None,
        memory: int = 0,
        cpus: tuple[float, float | None] = (1.0, None),
        user: owners.User = owners.ROOT,
    ) -> int:
        """The exit code (128 + n after signal n).

        Raises ``exception.TimeoutError`` at ``timeout``, ``exception.ResourceExhaustedError`` where the step failed
        for want of memory.

        ``memory``: the limit in bytes, 0 for the machine's. ``cpus``: request and limit, in cores.

        ``lowers``: bottom first, as in ``ImageMeta.layers``. ``upper``: an existing folder (it is handed to the
        container's root here) on the file system of the layers. Neither ``binds`` nor their mount points appear in
        ``upper``. Cancelling kills the step and everything it started.
        """
        name = ids.new("st")
        async with self._place(name) as place:
            os.chown(upper, spec.OWNER, spec.OWNER)
            upper.chmod(0o755)
            _stub(place / "stub", binds)
            box = spec.Box(
                name=name, argv=argv, env=env, cwd=cwd, rootfs=place / "rootfs", binds=binds,
                memory=memory or self._memory, open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
                seccomp=self._profile, building=True, cgroup=self._groups.oci_path(name),
                uid=user.uid, gid=user.gid, groups=user.groups,
            )  # fmt: skip
            (place / "config.json").touch(0o600)  # holds the secrets
            (place / "config.json").write_text(json.dumps(spec.document(box)))
            stacked = [place / "stub", *lowers, self._names]
            overlay.mount(box.rootfs, lowers=stacked, upper=upper, work=place / "work")
            try:
                limits = Limits(memory or self._memory, *cpus, timeout)
                return await self._run(name, place, log, limits)
            finally:
                overlay.unmount(box.rootfs)

    async def sweep(self) -> None:
        """Remove what steps of a killed worker left."""
        for place in sorted(self._root.glob("st-*")):
            await self._clear(place.name)

    @contextlib.asynccontextmanager
    async def _place(self, name: str) -> AsyncIterator[Path]:
        place = self._root / name
        for path in (place / "rootfs", place / "work"):
            path.mkdir(parents=True)
        try:
            yield place
        finally:
            await asyncio.shield(self._clear(name))

    async def _clear(self, name: str) -> None:
        place = self._root / name
        folders.kill_by_files(name, place / "pid")
        await self._emptied(self._groups.find(name))
        overlay.unmount(place / "rootfs")
        await asyncio.to_thread(self._runtime.forget, name)
        await asyncio.to_thread(trees.remove, place)

    async def _emptied(self, group: cgroups.Cgroup) -> None:
        """Kill what is left of a step, also what its runtime had not told us of, and take its groups away.

        What does not end in time (it hangs in the kernel) is left to the next worker's sweep.
        """
        deadline = time.monotonic() + _BURIAL
        while not group.remove() and time.monotonic() < deadline:
            group.kill()
            await asyncio.sleep(0.01)

    async def _run(self, name: str, place: Path, log: Log, limits: Limits) -> int:
        group = self._groups.create(
            name, cpu_request=limits.cpu_request, cpu_limit=limits.cpu, memory_limit=limits.memory, pids_limit=_PIDS
        )
        line = group.enter_argv(self._runtime.run_command(name, place, place / "pid"))
        try:
            process = await asyncio.create_subprocess_exec(
                *line, env={"PATH": spec.PATH}, start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            try:
                with group.watched() as out_of_memory:
                    code = await _finish(process, log, limits.timeout)
                    if code and out_of_memory():
                        raise _out_of_memory(group, code)
                    return code
            finally:
                folders.kill_by_files(name, place / "pid")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        finally:
            self._groups.remove(group)


def _out_of_memory(group: cgroups.Cgroup, code: int) -> exception.ResourceExhaustedError:
    limit = f"; the step may use {group.limit / 2**20:,.0f} MiB" if group.limit else ""
    return exception.ResourceExhaustedError(f"exit code {code}: out of memory{limit}")


async def _finish(process: asyncio.subprocess.Process, log: Log, timeout: float | None) -> int:
    assert process.stdout is not None
    async with tasks.Tasks() as background:
        reading = background.start(_copy(process.stdout, log), "output of a build step")
        try:
            code = await asyncio.wait_for(process.wait(), timeout)
        except asyncio.TimeoutError:
            raise exception.TimeoutError(f"did not end within {timeout:g} s") from None
        await asyncio.wait({reading}, timeout=_DRAIN)
    return code if code >= 0 else 128 - code


async def _copy(stream: asyncio.StreamReader, log: Log) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := await stream.read(65536):
        if text := decoder.decode(data):
            log(text)


def _stub(stub: Path, binds: Sequence[spec.Bind]) -> None:
    for name in _PLACES:
        (stub / name).mkdir(parents=True)
    for bind in binds:
        target = stub / bind.target.lstrip("/")
        if bind.source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    for path in (stub, *stub.rglob("*")):
        os.chown(path, spec.OWNER, spec.OWNER)
        path.chmod(0o755 if path.is_dir() else 0o644)
