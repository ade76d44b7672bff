"""Containers that are real. How each kind of them comes to be stands elsewhere: by the runtime (``launch``), from a
template (``snapshots.forks``), or as a sandbox (``sandboxes.opening``), all on one ``site``.

Everything is held under the container's id, so that a later worker can adopt it (``Containers.adopt``) from the same
stack; what only the worker's end interrupts is not given back (``release``).
"""
from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path

from windlass import exception
from windlass.kit import ids, tasks
from windlass.wire.messages import containers, workers
from windlass.wire.messages import images as image_messages
from windlass.worker import folder as folders
from windlass.worker import launch, lookup, network, overlay, release, site, spec
from windlass.worker.images import holds, inventory, stack
from windlass.worker.runtime import base, contained, handle
from windlass.worker.sandboxes import box, execs, opening, reaching, starting, ways
from windlass.worker.snapshots import forks, stock, template
from windlass.worker.volumes import service as volume_service


class Containers:
    """``base.Runtime`` with real isolation."""

    abilities = frozenset({base.ISOLATION, base.IMAGES})

    def __init__(self, parts: site.Parts, *, gaps: Sequence[str]) -> None:
        self.name = parts.runtime.name
        self.gaps = gaps
        self.store = parts.store
        self.volumes: volume_service.Volumes | None = parts.volumes
        self.network: network.NetworkPool | None = parts.network
        self._parts = parts
        self._site = site.Site(parts)
        self._sandboxes = reaching.Reaching(self._site)
        self.forks = forks.Forks(self._site)

    @property
    def levels(self) -> Mapping[str, str]:
        return self._parts.levels.reasons

    async def prepare(self, plan: containers.ContainerPlan) -> None:
        if forks.forkable(plan):
            await self._parts.families.settle(plan)

    # -- their lives -------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def open(self, plan: containers.ContainerPlan) -> AsyncIterator[base.Running]:
        uses = holds.named(plan["image_id"], plan["mounts"])
        with self._parts.store.held.of(*uses):
            async with self._opened(plan, uses) as running:
                yield running

    @contextlib.asynccontextmanager
    async def _opened(self, plan: containers.ContainerPlan, uses: list[str]) -> AsyncIterator[base.Running]:
        async with contextlib.AsyncExitStack() as held:
            cold = stock.Cold("")
            if "sandbox" in plan:
                yield await held.enter_async_context(opening.opened(self._site, plan, uses))
                return
            if plan.get("snapshot") and not forks.forkable(plan):
                cold = stock.Cold(f"it {forks.own(plan)}")
            if forks.forkable(plan):
                try:
                    family = await self._parts.families.of(plan)
                    yield await held.enter_async_context(self.forks.forked(plan, family, uses))
                    return
                except stock.Cold as exc:
                    cold = exc
            folder, ground = folders.Folder(self._parts.root, plan["container_id"]), await self._site.ground(plan)
            note = f"started without a memory snapshot: {cold}" if str(cold) else ""
            with contextlib.ExitStack() as failed:
                failed.callback(cold.untold)
                started = await launch.start(self._site, held, plan, folder, ground, uses=uses, note=note)
                failed.pop_all()
            running = held.enter_context(handle.Handle(folder, started.ended).watch(started.record))
            if plan.get("volumes"):
                following = self._parts.volumes.following(folder.container_id, folder, started.record["pid"])
                await held.enter_async_context(following)
            yield contained.Contained(running, started.group)

    @contextlib.asynccontextmanager
    async def adopt(self, container_id: str) -> AsyncIterator[base.Running]:
        parts, folder = self._parts, folders.Folder(self._parts.root, container_id)
        record = folder.read()
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(site.removed(folder))
            await held.enter_async_context(parts.buckets.adopted(folder))
            held.enter_context(release.on_end(lambda: overlay.unmount(folder.rootfs)))
            group = parts.cgroups.find(container_id)
            held.enter_context(release.on_end(lambda: parts.cgroups.remove(group)))
            ended = held.enter_context(parts.exits.expect(container_id))
            held.enter_context(self._site.forgotten(folder))
            if record is None:
                folders.kill_by_files(container_id, folder.pid_file, folder.monitor_file)
                raise exception.NotFoundError("the worker died while this container started")
            lease = parts.network.lease(container_id, block_network=record["block_network"])
            await held.enter_async_context(lease)
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            pid = record["pid"] if folders.alive(record["pid"], record["pid_start"]) else 0
            level = box.level_of(folder)
            await held.enter_async_context(parts.volumes.following(container_id, folder, pid))
            yield contained.Contained(running, group, *ways.hungry(folder, level))

    def known(self) -> list[str]:
        return folders.known(self._parts.root)

    # -- commands in them --------------------------------------------------------------------------------------

    def command(self, container_id: str, argv: Sequence[str], *, pty: bool) -> base.Command:
        if not argv:
            raise exception.InvalidError("no command to run")
        folder = folders.Folder(self._parts.root, container_id)
        record = folder.read()
        if record is None or not folders.alive(record["pid"], record["pid_start"]):
            raise exception.NotFoundError(f"container {container_id} is not running")
        lookup.check(record["process"] if "process" in record else record["pid"], argv[0])
        if "process" in record:
            return self._command_in_fork(record, argv)
        pid_file = folder.path / f"{ids.new('ex')}.pid"
        line = self._parts.runtime.exec_command(
            container_id, argv, search=spec.search_path(_search_path(folder)), pty=pty, pid_file=pid_file
        )
        line = [*launch.into(Path(f"/proc/{record['pid']}/ns/net")), *line]
        return base.Command(line, {"PATH": spec.PATH}, "/", pid_file)

    def _command_in_fork(self, record: folders.Record, argv: Sequence[str]) -> base.Command:
        groups = map(str, self._parts.cgroups.find(record["container_id"]).lists)
        line = [
            sys.executable, "-m", "windlass.worker.snapshots.enter", str(record["pid"]), str(record["process"]),
            *groups, "--", *argv,
        ]  # fmt: skip
        return base.Command(line, template.own_environment(), "/")

    # -- sandboxes ---------------------------------------------------------------------------------------------

    @property
    def starter(self) -> starting.Starting:
        return self._parts.starter

    def sandbox(self, container_id: str) -> box.Home:
        return self._sandboxes.home(container_id)

    def commands(self, home: box.Home, owner: tasks.Tasks) -> execs.Starter:
        return self._sandboxes.commands(home, owner)

    async def port(self, home: box.Home, number: int) -> socket.socket:
        return await self._sandboxes.port(home, number)

    async def settle(self, home: box.Home) -> None:
        await self._sandboxes.settle(home)

    def memory(self, home: box.Home) -> contextlib.AbstractAsyncContextManager[Path]:
        return self._sandboxes.memory(home)

    # -- templates and images ----------------------------------------------------------------------------------

    def keep_templates(self, functions: Collection[str]) -> None:
        self._parts.families.keep(functions)

    def templates(self) -> list[str]:
        return self._parts.families.functions()

    async def build(self, plan: workers.BuildPlan, log: Callable[[str], None]) -> workers.ImageMeta:
        return await self._parts.builder.build(plan, log)

    def images(self) -> list[str]:
        return self._site.layers.known()

    def contents(self, image_id: str) -> image_messages.Contents:
        digest = self._site.layers.read(image_id).get("digest", "")
        return {"installed": inventory.read(stack.lowers(self._parts.root, image_id)), "digest": str(digest)}


def _search_path(folder: folders.Folder) -> str:
    """The ``PYTHONPATH`` that a container's image or function asked for."""
    lines = json.loads((folder.bundle / "config.json").read_text())["process"]["env"]
    return next((value for name, _, value in (line.partition("=") for line in lines) if name == "PYTHONPATH"), "")
