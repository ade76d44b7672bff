"""The site that containers are built on: what each of them is given before anything of it runs, as blocks that give it
back. The same for cold starts (``launch``), forks (``snapshots.forks``) and sandboxes (``sandboxes.opening``).
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from windlass import exception
from windlass.kit import descriptors, trees
from windlass.wire.messages import containers, workers
from windlass.worker import cgroups, gpus, library, mounts, network, overlay, release, seccomp, spec, step, upper
from windlass.worker import folder as folders
from windlass.worker.buckets import service as bucket_service
from windlass.worker.images import cache, python, stack, store
from windlass.worker.runtime import handle, oci
from windlass.worker.sandboxes import starting, trying
from windlass.worker.snapshots import cell, families
from windlass.worker.volumes import service as volume_service

MIB = 1024 * 1024
PIDS = 4096
_DEATH = 5.0  # seconds after which what is killed is no longer waited for
_RUNNER = f"{spec.LIBRARY}/windlass/runner/boot.py"
_MOUNT_POINTS = ("dev", "proc", "sys", "root", "etc", "tmp")


class Builder(Protocol):
    """Makes layers (``worker.images.build``)."""

    async def build(self, plan: workers.BuildPlan, log: Callable[[str], None]) -> workers.ImageMeta:
        """One layer."""


class Parts(NamedTuple):
    """What containers are made of on this machine, each once for the whole worker; put together by ``compose``."""

    root: Path
    """The home folder, by the name that every user inside the node can reach."""
    server: Path
    """The folder with the socket that runners connect to."""
    runtime: oci.Oci
    exits: handle.Exits
    network: network.NetworkPool
    cgroups: cgroups.Cgroups
    mounts: mounts.Mounts
    library: library.Library
    builder: Builder
    store: store.Store
    steps: step.Steps
    families: families.Families
    volumes: volume_service.Volumes
    buckets: bucket_service.Buckets
    gpus: gpus.Gpus
    starter: starting.Starting
    levels: trying.Offer
    memory: int
    """Bytes of this machine: the limit of containers that asked for none."""


class Ground(NamedTuple):
    """What a container of an image stands on: ``lowers`` lie below its private layer, ``library`` is mounted."""

    image: cache.Record
    lowers: list[Path]
    library: Path


class Site:
    """``parts``, and what follows from them for every container."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.layers = cache.Layers(parts.root)
        self.profile = seccomp.profile()
        self.open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._stack_limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
        self._stub = parts.root / "lib" / "stub"
        for name in _MOUNT_POINTS:
            (self._stub / name).mkdir(parents=True, exist_ok=True)
        upper.give(self._stub)

    async def ground(self, plan: containers.ContainerPlan) -> Ground:
        """Of a container with a runner."""
        image = self.layers.read(plan["image_id"])
        lowers = await self.lowers(plan)
        compiled = self.parts.library.compiled_for(image["python"], self._compiler(plan["image_id"], image))
        return Ground(image, lowers, await compiled)

    async def lowers(self, plan: containers.ContainerPlan) -> list[Path]:
        """What lies below the private layer."""
        trees = [await self.parts.mounts.tree(digest) for digest in plan["mounts"]]
        return [self._stub, *stack.lowers(self.parts.root, plan["image_id"], trees)]

    def place(
        self, name: str, plan: containers.ContainerPlan
    ) -> contextlib.AbstractAsyncContextManager[network.Network]:
        """An address for a network namespace that is made elsewhere."""
        return self.parts.network.place(name, block_network=plan["block_network"], plan=plan.get("network"))

    def memory(self, plan: containers.ContainerPlan) -> int:
        """Bytes that it may use."""
        return plan["memory_limit"] * MIB or self.parts.memory

    @contextlib.contextmanager
    def limited(
        self, plan: containers.ContainerPlan, memory: int, name: str = ""
    ) -> Iterator[cgroups.Cgroup]:
        """A control group with the limits of ``plan``."""
        groups = self.parts.cgroups
        group = groups.create(
            name or plan["container_id"], cpu_request=plan["cpu_request"], cpu_limit=plan["cpu_limit"] or None,
            memory_limit=memory, pids_limit=plan["pids_limit"] or PIDS,
        )  # fmt: skip
        with release.on_end(lambda: groups.remove(group)):
            yield group

    def forgotten(self, folder: folders.Folder) -> contextlib.AbstractContextManager[None]:
        """Have the runtime forget the container at the end."""
        return release.on_end(lambda: self.parts.runtime.forget(folder.container_id))

    def walls(self, plan: containers.ContainerPlan, ground: Ground, folder: folders.Folder) -> spec.Box:
        """Around a runner."""
        image, lent = ground.image, plan.get("gpus", [])
        env = gpus.environment(spec.environment(image["env"], plan["env"], cpus=plan["cpu_request"]), lent)
        spec.check_room(env, stack=self._stack_limit)
        return spec.Box(
            name=folder.container_id,
            argv=[*image["entrypoint"], _python(image), _RUNNER],
            env=env,
            cwd=image["workdir"] or "/root",
            rootfs=folder.rootfs,
            binds=[
                spec.Bind(ground.library, spec.LIBRARY), spec.Bind(self.parts.server, spec.SERVER),
                spec.Bind(folder.plan, spec.PLAN), *self.parts.gpus.binds(lent),
            ],
            memory=self.memory(plan),
            open_files=self.open_files,
            seccomp=self.profile,
            cgroup=self.parts.cgroups.oci_path(folder.container_id),
        )  # fmt: skip

    def _compiler(self, image_id: str, image: cache.Record) -> library.Compile:
        async def compile_with(source: Path, target: Path) -> Path:
            argv = [_python(image), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", spec.LIBRARY]
            said: list[str] = []
            made = target / "upper"
            made.mkdir()
            code = await self.parts.steps.run(
                argv, lowers=stack.lowers(self.parts.root, image_id), upper=made,
                env={"PATH": spec.PATH, **image["env"], "PYTHONPYCACHEPREFIX": "/compiled"},
                binds=[spec.Bind(source, spec.LIBRARY)], log=said.append, timeout=60,
            )  # fmt: skip
            if code:
                raise exception.ExecutionError(f"the image's Python cannot compile the library: {''.join(said)}")
            return made / "compiled" / spec.LIBRARY[1:]

        return compile_with


def _python(image: cache.Record) -> str:
    return image.get("program") or python.NAMES[0]


def by_depth(ours: Sequence[spec.Bind], theirs: Sequence[spec.Bind]) -> list[spec.Bind]:
    """A mount may lie in another one, and must come after it."""
    return [*ours, *sorted(theirs, key=lambda bind: bind.target.count("/"))]


def cell_of(box: spec.Box) -> cell.Plan:
    """The walls of ``box`` around a process that no runtime starts."""
    own = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
    return {
        "name": box.name, "rootfs": str(box.rootfs),
        "mounts": [own if mount["destination"] == "/sys" else mount for mount in spec.mounts(box)],
        "masked": list(spec.MASKED), "read_only": list(spec.READ_ONLY),
    }  # fmt: skip


def removed(folder: folders.Folder) -> contextlib.AbstractAsyncContextManager[None]:
    """Have the folder go at the end."""
    return release.on_end_async(lambda: asyncio.to_thread(trees.remove, folder.path))


@contextlib.contextmanager
def stacked(folder: folders.Folder, lowers: Sequence[Path]) -> Iterator[None]:
    """The root file system, mounted."""
    overlay.mount(folder.rootfs, lowers=lowers, upper=folder.upper, work=folder.work)
    with release.on_end(lambda: overlay.unmount(folder.rootfs)):
        yield


@contextlib.asynccontextmanager
async def killed(first: int) -> AsyncIterator[None]:
    """Let the first process of a cell live until the end of the block, which waits until all that lived there is gone:
    what it used, its control group before all, cannot be given back before."""
    known = os.pidfd_open(first)
    try:
        async with release.on_end_async(lambda: _kill(known)):
            yield
    finally:
        os.close(known)


async def _kill(known: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(known, signal.SIGKILL)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(descriptors.ready(known), _DEATH)
