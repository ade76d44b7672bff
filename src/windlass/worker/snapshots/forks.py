"""Containers that come from templates: the template's own, the cells in which forks wait, and what makes a fork one.

    template ── fork ──► cell: everything but an identity ── named ──► container
"""
from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

from windlass.kit import ids
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker import launch, overlay, release, site, upper
from windlass.worker.images import holds
from windlass.worker.runtime import contained, handle
from windlass.worker.snapshots import stock, template


def forkable(plan: containers.ContainerPlan) -> bool:
    """Whether it may come from a template. A template's mounts would be those of all its forks."""
    return bool(plan.get("snapshot")) and not own(plan)


def own(plan: containers.ContainerPlan) -> str:
    """What it has that others may change, or that is only its own, in words."""
    kinds = {"volumes": "volumes", "buckets": "buckets", "nfs": "network file systems"}
    mounted = " and ".join(word for key, word in kinds.items() if plan.get(key))
    lent = "has GPUs" if plan.get("gpus") else ""
    private = "has a private address" if "address" in plan.get("network", {}) else ""
    return " and ".join(filter(None, (mounted and f"mounts {mounted}", lent, private)))


class Forks:
    """``families.Launcher``, and the containers that come of it."""

    def __init__(self, place: site.Site) -> None:
        self._site = place
        self._parts = place.parts
        self._grounds: weakref.WeakKeyDictionary[template.Family, site.Ground] = weakref.WeakKeyDictionary()

    @contextlib.asynccontextmanager
    async def run(
        self, plan: containers.ContainerPlan, family: template.Family
    ) -> AsyncIterator[asyncio.Future[int]]:
        """The container of a template, with its keeper."""
        uses = holds.named(plan["image_id"], plan["mounts"])
        async with contextlib.AsyncExitStack() as held:
            held.enter_context(self._parts.store.held.of(*uses))
            ground = self._grounds[family] = await self._site.ground(plan)  # which it holds as long as it lives
            ended, _, record = await launch.start(
                self._site, held, plan, family.folder, ground, uses=uses, family=family
            )
            held.enter_context(handle.Handle(family.folder, ended).watch(record))
            yield ended

    async def cell(self, plan: containers.ContainerPlan, family: template.Family) -> stock.Cell:
        """All that can be had of a container before it is known which one it will be: the fork waits in its cell, with
        the limits that all of its kind have."""
        parts, name = self._parts, ids.new("ce")
        folder = folders.Folder(parts.root, name, kind=f"{folders.FAMILIES}/{family.id}/{stock.CELLS}")
        ground = self._grounds[family]
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(site.removed(folder))
            net = await held.enter_async_context(self._site.place(name, plan))
            upper.fill(folder, net)  # in a thread it would wait for its turn after each file
            # What the template wrote until the fork point is there, too.
            held.enter_context(site.stacked(folder, [*ground.lowers, family.folder.upper]))
            walls = self._site.walls(plan, ground, folder)
            group = held.enter_context(self._site.limited(plan, walls.memory, name))
            first = await family.furnish(name, site.cell_of(walls))
            await held.enter_async_context(site.killed(first))
            link = parts.network.link(name, Path(f"/proc/{first}/ns/net"))
            _, process = await asyncio.gather(link, family.fork(name, group.doors))
            return stock.Cell(name, folder, first, process, net, group, held.pop_all())

    @contextlib.asynccontextmanager
    async def forked(
        self, plan: containers.ContainerPlan, family: template.Family, uses: list[str]
    ) -> AsyncIterator[contained.Contained]:
        """The same walls as of a cold start, but the process comes from a template. Raises ``Cold`` before it runs."""
        parts, name = self._parts, plan["container_id"]
        async with contextlib.AsyncExitStack() as held:
            ready = await family.stock.take()
            held.push_async_exit(ready.held)
            folder = ready.folder
            try:
                ready.group.rename(name)
                parts.network.rename(ready.name, name)
                folder.move(parts.root, name)
                upper.identify(folder, plan, ready.net, root=folder.rootfs, log=family.log_of_making())
                ended = held.enter_context(parts.exits.expect(name))
                record: folders.Record = {
                    "container_id": name, "pid": ready.first, "pid_start": folders.start_time(ready.first),
                    "process": ready.process, "process_start": folders.start_time(ready.process),
                    "monitor": family.keeper, "monitor_start": family.keeper_start,
                    "memory_limit": self._site.memory(plan), "block_network": plan["block_network"], "uses": uses,
                }  # fmt: skip
                folder.write(record)
            except OSError as exc:
                raise stock.Cold(f"the fork could not be made a container: {exc}") from None
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            family.go(ready, name)
            yield contained.Contained(running, ready.group)

    async def adopt(self, name: str) -> None:
        """See to the end of a family whose forks go on without a template."""
        parts, folder = self._parts, folders.Folder(self._parts.root, name, kind=folders.FAMILIES)
        record = folder.read()
        group = parts.cgroups.find(name)
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(site.removed(folder))
            cells = sorted((folder.path / stock.CELLS).glob("*"))
            for one in cells:
                own_group = parts.cgroups.find(one.name)
                held.enter_context(release.on_end(functools.partial(parts.cgroups.remove, own_group)))
            for path in [folder.rootfs, *(one / "bundle/rootfs" for one in cells)]:
                held.enter_context(release.on_end(functools.partial(overlay.unmount, path)))
            held.enter_context(release.on_end(lambda: parts.cgroups.remove(group)))
            ended = held.enter_context(parts.exits.expect(name))
            held.enter_context(self._site.forgotten(folder))
            blocked = record is not None and record["block_network"]
            await held.enter_async_context(parts.network.lease(name, block_network=blocked))
            if record is None:
                folders.kill_by_files(name, folder.pid_file, folder.monitor_file)
                return
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            await running.wait()
