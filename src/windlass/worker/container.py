"""Containers that are real: one exit stack from the folder to the process, given back in reverse.

    folder → root file system → network → control group → document → monitor, runtime, process

Everything is held under the container's id, so that a later worker can adopt it (``Containers.adopt``) from the same
stack; what only the worker's end interrupts is not given back (``release``).
"""
from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from windlass import exception
from windlass.kit import clock, files, ids, tasks
from windlass.wire.messages import containers, workers
from windlass.wire.messages import images as image_messages
from windlass.worker import cgroups, gpus, library, lookup, mounts, network, overlay, release, seccomp, spec, step
from windlass.worker import folder as folders
from windlass.worker.buckets import service as bucket_service
from windlass.worker.images import cache, holds, inventory, python, stack, store
from windlass.worker.runtime import base, handle, oci
from windlass.worker.sandboxes import (
    box,
    entering,
    execs,
    gvisor,
    memories,
    probing,
    sentry,
    starting,
    trying,
    visiting,
)
from windlass.worker.sandboxes.vm import parts as vm_parts
from windlass.worker.sandboxes.vm import plan as vm_plan
from windlass.worker.sandboxes.vm import room as vm_room
from windlass.worker.snapshots import cell, families
from windlass.worker.snapshots import filter as filters
from windlass.worker.volumes import service as volume_service

Bind = spec.Bind
Steps = step.Steps
_Ground = tuple[cache.Record, list[Path], Path]
"""Of an image: its record, the layers of a container, and the library."""

_PIDS = 4096
_MIB = 1024 * 1024
_TEMPLATE_CPU = 1.0  # its share at least: all forks wait for it, and the more of them have begun the less it would get
OWNER = 1  # root of a container, as the node numbers it
_RUNNER = f"{spec.LIBRARY}/windlass/runner/boot.py"
_MOUNT_POINTS = ("dev", "proc", "sys", "root", "etc", "tmp")


class Builder(Protocol):
    """Makes layers (``worker.images.build``)."""

    async def build(self, plan: workers.BuildPlan, log: Callable[[str], None]) -> workers.ImageMeta:
        """One layer."""


class Parts(NamedTuple):
    """What containers are made of; built by ``__main__``."""

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


class Containers:
    """``base.Runtime`` with real isolation."""

    abilities = frozenset({base.ISOLATION, base.IMAGES})

    def __init__(self, parts: Parts, *, gaps: Sequence[str]) -> None:
        self.name = parts.runtime.name
        self.gaps = gaps
        self.store = parts.store
        self.volumes: volume_service.Volumes | None = parts.volumes
        self.network: network.NetworkPool | None = parts.network
        self._parts = parts
        self._layers = cache.Layers(parts.root)
        self._profile = seccomp.profile()
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._grounds: weakref.WeakKeyDictionary[families.Family, _Ground] = weakref.WeakKeyDictionary()
        self._machines = vm_room.Machines()
        self._stub = parts.root / "lib" / "stub"
        for name in _MOUNT_POINTS:
            (self._stub / name).mkdir(parents=True, exist_ok=True)
        give(self._stub)

    @property
    def levels(self) -> Mapping[str, str]:
        return self._parts.levels.reasons

    async def prepare(self, plan: containers.ContainerPlan) -> None:
        if _forkable(plan):
            await self._parts.families.settle(plan)

    @contextlib.asynccontextmanager
    async def open(self, plan: containers.ContainerPlan) -> AsyncIterator[base.Running]:
        uses = holds.named(plan["image_id"], plan["mounts"])
        with self._parts.store.held.of(*uses):
            async with self._opened(plan, uses) as running:
                yield running

    @contextlib.asynccontextmanager
    async def _opened(self, plan: containers.ContainerPlan, uses: list[str]) -> AsyncIterator[base.Running]:
        async with contextlib.AsyncExitStack() as held:
            note = ""
            if "sandbox" in plan:
                yield await held.enter_async_context(self._sandbox(plan, uses))
                return
            if plan.get("snapshot") and not _forkable(plan):
                note = f"started without a memory snapshot: it {_own(plan)}"
            if _forkable(plan):
                try:
                    family = await self._parts.families.of(plan)
                    yield await held.enter_async_context(self._forked(plan, family, uses))
                    return
                except families.Cold as exc:
                    note = f"started without a memory snapshot: {exc}" if str(exc) else ""
            folder = folders.Folder(self._parts.root, plan["container_id"])
            ended, group, record = await self._start(held, plan, folder, uses=uses, note=note)
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            if plan.get("volumes"):
                following = self._parts.volumes.following(folder.container_id, folder, record["pid"])
                await held.enter_async_context(following)
            yield _Contained(running, group)

    @contextlib.asynccontextmanager
    async def _sandbox(
        self, plan: containers.ContainerPlan, uses: list[str]
    ) -> AsyncIterator[base.Running]:
        """The same walls around the user's own command, which our starter starts: no runner, no library, no token."""
        parts, name = self._parts, plan["container_id"]
        folder = folders.Folder(parts.root, name)
        image = self._layers.read(plan["image_id"])
        lent = plan.get("gpus", [])
        argv, asked = box.words(plan, image), box.asked(plan, image)
        asked["env"] = gpus.environment(asked["env"], lent)
        level = plan["sandbox"].get("runtime", "")
        runsc = (await parts.levels.tried(level)).gvisor() if level == sentry.LEVEL else None
        machine = (await parts.levels.tried(level)).vm() if level == vm_parts.LEVEL else None
        if plan["sandbox"].get("pty"):
            asked["env"].setdefault("TERM", "xterm-256color")
        trees = [await parts.mounts.tree(digest) for digest in plan["mounts"]]
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(_removed(folder))
            net = await held.enter_async_context(self._place(name, plan))
            box.fill(folder, net)
            held.enter_context(_stacked(folder, [self._stub, *stack.lowers(parts.root, plan["image_id"], trees)]))
            limit, own_kernel = plan["memory_limit"] * _MIB or parts.memory, 0
            if machine is not None:
                limit = vm_plan.memory(plan["memory_limit"] * _MIB, plan["memory_request"] * _MIB, parts.memory)
                own_kernel = vm_plan.OVERHEAD
            group = held.enter_context(self._limited(plan, limit + own_kernel))
            if runsc is not None:
                asked = {**asked, "level": level, "inner": sentry.ROOT, "loopback": sentry.VISITED}
            elif machine is not None:
                asked = {**asked, "level": level, "inner": vm_plan.ROOT, "accel": machine.accel}
            box.keep(folder, asked)
            if probe := plan["sandbox"].get("probe"):
                probing.keep(folder.path, probe)
            ended = held.enter_context(parts.exits.expect(name))
            alien = await held.enter_async_context(parts.buckets.open(plan, folder))
            async with parts.volumes.open(plan, folder) as own:
                box.workplace(folder.rootfs, asked["cwd"])
                binds = box.targets(folder.rootfs, _by_depth([], [*own, *alien]))
                binds += box.files(folder.rootfs, parts.gpus.binds(lent))
                walls = self._walls(plan, image, folder, binds, limit)
                if machine is not None:
                    planned = await self._machine_cell(walls, folder, machine)
                else:
                    planned = _cell(walls) if runsc is None else self._inner_cell(walls, folder, runsc, plan)
                first = await parts.starter.cell(name, planned)
                held.enter_context(_killed(first))
                if not plan["block_network"]:
                    await parts.network.link(name, Path(f"/proc/{first}/ns/net"))
            doors = [str(door) for door in group.doors]
            record: folders.Record = {
                "container_id": name, "pid": first, "pid_start": folders.start_time(first),
                "monitor": parts.starter.pid, "monitor_start": folders.start_time(parts.starter.pid),
                "memory_limit": limit, "block_network": plan["block_network"], "uses": uses,
            }  # fmt: skip
            home = box.Home(folder, record, asked, doors)
            inside: entering.Inside = {
                **home.inside(argv), "hostname": name[:63], "log": str(folder.log),
                "stdin": str(folder.path / box.STDIN), "pty": plan["sandbox"].get("pty", False),
            }  # fmt: skip
            if machine is not None:
                process = await self._booted(home, machine, walls, inside, ended, plan, net)
            elif runsc is None:
                process = await parts.starter.start(name, inside)
            else:
                process = await self._guarded(home, runsc, walls, inside, ended, plan)
            record = {**record, "process": process, "process_start": folders.start_time(process)}
            folder.write(record)
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            if plan.get("volumes"):
                following = parts.volumes.following(name, folder, first)
                await held.enter_async_context(following)
            hungry = functools.partial(vm_room.hungry, folder) if machine is not None else None
            yield _Contained(running, group, hungry)

    def _inner_cell(
        self, walls: spec.Box, folder: folders.Folder, runsc: sentry.Runsc, plan: containers.ContainerPlan
    ) -> cell.Plan:
        """The cell of a sandbox with a kernel of its own. Raises ``NotFoundError`` where its memory is not here."""
        memory = None
        if plan["sandbox"].get("restore"):
            memory = memories.folder(self._parts.root, plan["image_id"])
        bundle = gvisor.bundle(folder)
        return sentry.plan(walls, runsc, sentry.stub(self._parts.root), bundle, memory)

    async def _guarded(
        self, home: box.Home, runsc: sentry.Runsc, walls: spec.Box, inside: entering.Inside,
        ended: asyncio.Future[int], plan: containers.ContainerPlan,
    ) -> int:  # fmt: skip
        """Start a sandbox with a kernel of its own; the process to interrupt."""
        room = gvisor.Room(home, runsc, self._open_files)
        room.furnish(walls, inside)
        await room.connect()
        entry = room.entry(inside, restored=plan["sandbox"].get("restore", False))
        process = await self._parts.starter.start(home.folder.container_id, entry)
        await room.up(ended, clock.SystemClock())
        return process

    async def _machine_cell(self, walls: spec.Box, folder: folders.Folder, machine: vm_parts.Parts) -> cell.Plan:
        """The cell of a sandbox with a machine of its own."""
        root = self._parts.root
        staged = await asyncio.to_thread(vm_parts.made, machine, root)
        return vm_plan.cell_of(walls, machine, staged, vm_plan.stub(root), vm_room.bundle(folder))

    async def _booted(
        self, home: box.Home, machine: vm_parts.Parts, walls: spec.Box, inside: entering.Inside,
        ended: asyncio.Future[int], plan: containers.ContainerPlan, net: network.Network,
    ) -> int:  # fmt: skip
        """Start a sandbox with a machine of its own; the process to interrupt."""
        room = vm_room.Room(home, machine)
        own = "" if plan["block_network"] else net.address
        cpus = plan["cpu_limit"] or plan["cpu_request"]
        program = filters.Filter(self._profile).program() if self._profile else b""
        asked = vm_plan.Asked(walls.memory, cpus, plan["pids_limit"] or _PIDS, own, program)
        entry = room.furnish(walls, asked, inside)
        process = await self._parts.starter.start(home.folder.container_id, entry)
        await room.up(ended, clock.SystemClock())
        return process

    async def port(self, home: box.Home, number: int) -> socket.socket:
        if home.level == vm_parts.LEVEL:
            return await self._inmates(home).connect(number)
        return await visiting.inside(visiting.Where(home.record["pid"], home.loopback), number)

    async def settle(self, home: box.Home) -> None:
        if home.level == vm_parts.LEVEL:
            await self._inmates(home).sync()

    def _inmates(self, home: box.Home) -> vm_room.Commands:
        return vm_room.Commands(home, self._machines, home.asked["accel"])

    def memory(self, home: box.Home) -> contextlib.AbstractAsyncContextManager[Path]:
        if home.level != sentry.LEVEL:
            raise exception.UnimplementedError(
                'the memory of sandboxes can be kept with runtime="gvisor" alone', hint="See `windlass doctor`."
            )
        room = gvisor.Room(home, self._parts.levels.known.gvisor(), self._open_files)
        return memories.taken(room, self._parts.starter)

    def commands(self, home: box.Home, owner: tasks.Tasks) -> execs.Starter:
        """What starts commands in a sandbox. Raises ``UnimplementedError`` where its level is gone."""
        if home.level == vm_parts.LEVEL:
            return self._inmates(home)
        if home.level != sentry.LEVEL:
            return self._parts.starter
        room = gvisor.Room(home, self._parts.levels.known.gvisor(), self._open_files)
        return gvisor.Commands(room, self._parts.starter, owner, clock.SystemClock())

    def sandbox(self, container_id: str) -> box.Home:
        folder = folders.Folder(self._parts.root, container_id)
        asked = box.load(folder) if folder.path.is_dir() else None  # first: most that are asked about are no sandboxes
        record = folder.read()
        if asked is None or record is None or not folders.alive(record["pid"], record["pid_start"]):
            raise exception.ConflictError(f"sandbox {container_id} does not run")
        doors = [str(door) for door in self._parts.cgroups.find(container_id).doors]
        return box.Home(folder, record, asked, doors)

    @property
    def starter(self) -> starting.Starting:
        return self._parts.starter

    @contextlib.asynccontextmanager
    async def template(
        self, plan: containers.ContainerPlan, family: families.Family
    ) -> AsyncIterator[asyncio.Future[int]]:
        """The container of a template, with its keeper."""
        uses = holds.named(plan["image_id"], plan["mounts"])
        async with contextlib.AsyncExitStack() as held:
            held.enter_context(self._parts.store.held.of(*uses))
            ended, _, record = await self._start(held, plan, family.folder, uses=uses, family=family)
            held.enter_context(handle.Handle(family.folder, ended).watch(record))
            yield ended

    async def _start(
        self, held: contextlib.AsyncExitStack, plan: containers.ContainerPlan, folder: folders.Folder, *,
        uses: list[str], note: str = "", family: families.Family | None = None,
    ) -> tuple[asyncio.Future[int], cgroups.Cgroup, folders.Record]:  # fmt: skip
        parts = self._parts
        image, lowers, shared = ground = await self._ground(plan)
        if family is not None:
            self._grounds[family] = ground  # which it holds as long as it lives
        await held.enter_async_context(_removed(folder))
        net = await held.enter_async_context(
            parts.network.lease(
                folder.container_id, block_network=plan["block_network"], plan=plan.get("network")
            )
        )
        await asyncio.to_thread(_fill, folder, net, is_template=family is not None)
        await asyncio.to_thread(_identify, folder, plan, net, root=folder.upper)
        if note:
            _note(folder, note)
        held.enter_context(_stacked(folder, lowers))
        limit = plan["memory_limit"] * _MIB or parts.memory
        weight = plan if family is None else {**plan, "cpu_request": max(_TEMPLATE_CPU, plan["cpu_request"])}
        group = held.enter_context(self._limited(weight, limit))
        walls = self._box(plan, image, folder=folder, shared=shared, limit=limit)._replace(sys=net.sys)
        if family is not None:
            walls = _for_template(walls, family)
        ended = held.enter_context(parts.exits.expect(folder.container_id))
        held.enter_context(self._forgotten(folder))
        created = None if family is None else lambda pid: family.keep(pid, parts.exits.path)
        alien = await held.enter_async_context(parts.buckets.open(plan, folder))
        async with parts.volumes.open(plan, folder) as binds:
            (folder.bundle / "config.json").touch(0o600)  # holds the secrets
            text = json.dumps(spec.document(walls._replace(binds=_by_depth(walls.binds, [*binds, *alien]))))
            (folder.bundle / "config.json").write_text(text)
            record = await _launched(parts.runtime, folder, group, net.path, created)
        folder.write({
            **record, "memory_limit": limit, "block_network": plan["block_network"], "uses": uses
        })  # fmt: skip
        return ended, group, record

    async def _ground(self, plan: containers.ContainerPlan) -> _Ground:
        """What lies below the private layer, and the library."""
        image = self._layers.read(plan["image_id"])
        trees = [await self._parts.mounts.tree(digest) for digest in plan["mounts"]]
        lowers = [self._stub, *stack.lowers(self._parts.root, plan["image_id"], trees)]
        shared = await self._parts.library.compiled_for(image["python"], self._compiler(plan["image_id"], image))
        return image, lowers, shared

    async def cell(self, plan: containers.ContainerPlan, family: families.Family) -> families.Cell:
        """All that can be had of a container before it is known which one it will be: the fork waits in its cell, with
        the limits that all of its kind have."""
        parts, name = self._parts, ids.new("ce")
        folder = folders.Folder(parts.root, name, kind=f"{families.KIND}/{family.id}/{families.CELLS}")
        image, lowers, shared = self._grounds[family]
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(_removed(folder))
            net = await held.enter_async_context(self._place(name, plan))
            _fill(folder, net)  # in a thread it would wait for its turn after each file
            # What the template wrote until the fork point is there, too.
            held.enter_context(_stacked(folder, [*lowers, family.folder.upper]))
            limit = plan["memory_limit"] * _MIB or parts.memory
            walls = self._box(plan, image, folder=folder, shared=shared, limit=limit)
            group = held.enter_context(self._limited(plan, limit, name))
            first = await family.furnish(name, _cell(walls))
            held.enter_context(_killed(first))
            link = parts.network.link(name, Path(f"/proc/{first}/ns/net"))
            _, process = await asyncio.gather(link, family.fork(name, group.doors))
            return families.Cell(name, folder, first, process, net, group, held.pop_all())

    @contextlib.asynccontextmanager
    async def _forked(
        self, plan: containers.ContainerPlan, family: families.Family, uses: list[str]
    ) -> AsyncIterator[base.Running]:
        """The same walls as of a cold start, but the process comes from a template. Raises ``Cold`` before it runs."""
        parts, name = self._parts, plan["container_id"]
        async with contextlib.AsyncExitStack() as held:
            ready = await family.take()
            held.push_async_exit(ready.held)
            folder = ready.folder
            try:
                ready.group.rename(name)
                parts.network.rename(ready.name, name)
                folder.move(parts.root, name)
                _identify(folder, plan, ready.net, root=folder.rootfs, log=family.log_of_making())
                limit = plan["memory_limit"] * _MIB or parts.memory
                ended = held.enter_context(parts.exits.expect(name))
                record: folders.Record = {
                    "container_id": name, "pid": ready.first, "pid_start": folders.start_time(ready.first),
                    "process": ready.process, "process_start": folders.start_time(ready.process),
                    "monitor": family.keeper, "monitor_start": family.keeper_start,
                    "memory_limit": limit, "block_network": plan["block_network"], "uses": uses,
                }  # fmt: skip
                folder.write(record)
            except OSError as exc:
                raise families.Cold(f"the fork could not be made a container: {exc}") from None
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            family.go(ready, name)
            yield _Contained(running, ready.group)

    async def adopt_family(self, name: str) -> None:
        """See to the end of a family whose forks go on without a template."""
        parts, folder = self._parts, folders.Folder(self._parts.root, name, kind=families.KIND)
        record = folder.read()
        group = parts.cgroups.find(name)
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(_removed(folder))
            cells = sorted((folder.path / families.CELLS).glob("*"))
            for own in cells:
                own_group = parts.cgroups.find(own.name)
                held.enter_context(release.on_end(functools.partial(parts.cgroups.remove, own_group)))
            for path in [folder.rootfs, *(own / "bundle/rootfs" for own in cells)]:
                held.enter_context(release.on_end(functools.partial(overlay.unmount, path)))
            held.enter_context(release.on_end(lambda: parts.cgroups.remove(group)))
            ended = held.enter_context(parts.exits.expect(name))
            held.enter_context(self._forgotten(folder))
            blocked = record is not None and record["block_network"]
            await held.enter_async_context(parts.network.lease(name, block_network=blocked))
            if record is None:
                folders.kill_by_files(name, folder.pid_file, folder.monitor_file)
                return
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            await running.wait()

    @contextlib.asynccontextmanager
    async def adopt(self, container_id: str) -> AsyncIterator[base.Running]:
        parts, folder = self._parts, folders.Folder(self._parts.root, container_id)
        record = folder.read()
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(_removed(folder))
            await held.enter_async_context(parts.buckets.adopted(folder))
            held.enter_context(release.on_end(lambda: overlay.unmount(folder.rootfs)))
            group = parts.cgroups.find(container_id)
            held.enter_context(release.on_end(lambda: parts.cgroups.remove(group)))
            ended = held.enter_context(parts.exits.expect(container_id))
            held.enter_context(self._forgotten(folder))
            if record is None:
                folders.kill_by_files(container_id, folder.pid_file, folder.monitor_file)
                raise exception.NotFoundError("the worker died while this container started")
            lease = parts.network.lease(container_id, block_network=record["block_network"])
            await held.enter_async_context(lease)
            running = held.enter_context(handle.Handle(folder, ended).watch(record))
            pid = record["pid"] if folders.alive(record["pid"], record["pid_start"]) else 0
            await held.enter_async_context(parts.volumes.following(container_id, folder, pid))
            hungry = functools.partial(vm_room.hungry, folder) if box.level_of(folder) == vm_parts.LEVEL else None
            yield _Contained(running, group, hungry)

    def known(self) -> list[str]:
        return folders.known(self._parts.root)

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
        line = self._parts.runtime.exec_command(container_id, argv, pty=pty, pid_file=pid_file)
        line = [*_into(Path(f"/proc/{record['pid']}/ns/net")), *line]
        return base.Command(line, {"PATH": spec.PATH}, "/", pid_file)

    def _command_in_fork(self, record: folders.Record, argv: Sequence[str]) -> base.Command:
        groups = [str(path / "cgroup.procs") for path in self._parts.cgroups.find(record["container_id"]).paths]
        line = [
            sys.executable, "-m", "windlass.worker.snapshots.enter", str(record["pid"]), str(record["process"]),
            *groups, "--", *argv,
        ]  # fmt: skip
        return base.Command(line, families.own_environment(), "/")

    async def build(self, plan: workers.BuildPlan, log: Callable[[str], None]) -> workers.ImageMeta:
        return await self._parts.builder.build(plan, log)

    def keep_templates(self, functions: Collection[str]) -> None:
        self._parts.families.keep(functions)

    def templates(self) -> list[str]:
        return self._parts.families.functions()

    def images(self) -> list[str]:
        return self._layers.known()

    def contents(self, image_id: str) -> image_messages.Contents:
        digest = self._layers.read(image_id).get("digest", "")
        return {"installed": inventory.read(stack.lowers(self._parts.root, image_id)), "digest": str(digest)}

    def _walls(
        self, plan: containers.ContainerPlan, image: cache.Record, folder: folders.Folder, binds: Sequence[Bind],
        limit: int,
    ) -> spec.Box:  # fmt: skip
        """Of a sandbox; the command and its environment are the starter's business."""
        return spec.Box(
            name=folder.container_id, argv=[], env={}, cwd="/", rootfs=folder.rootfs, binds=binds, memory=limit,
            open_files=self._open_files, seccomp=None,
        )  # fmt: skip

    def _box(
        self, plan: containers.ContainerPlan, image: cache.Record, *,
        folder: folders.Folder, shared: Path, limit: int,
    ) -> spec.Box:  # fmt: skip
        return spec.Box(
            name=folder.container_id,
            argv=[*image["entrypoint"], _python(image), _RUNNER],
            env=gpus.environment(
                spec.environment(image["env"], plan["env"], cpus=plan["cpu_request"]), plan.get("gpus", [])
            ),
            cwd=image["workdir"] or "/root",
            rootfs=folder.rootfs,
            binds=[
                Bind(shared, spec.LIBRARY), Bind(self._parts.server, spec.SERVER), Bind(folder.plan, spec.PLAN),
                *self._parts.gpus.binds(plan.get("gpus", [])),
            ],
            memory=limit,
            open_files=self._open_files,
            seccomp=self._profile,
            cgroup=self._parts.cgroups.oci_path(folder.container_id),
        )

    def _limited(
        self, plan: containers.ContainerPlan, limit: int, name: str = ""
    ) -> contextlib.AbstractContextManager[cgroups.Cgroup]:
        groups = self._parts.cgroups
        group = groups.create(
            name or plan["container_id"], cpu_request=plan["cpu_request"], cpu_limit=plan["cpu_limit"] or None,
            memory_limit=limit, pids_limit=plan["pids_limit"] or _PIDS,
        )  # fmt: skip
        return _held(group, release.on_end(lambda: groups.remove(group)))

    def _forgotten(self, folder: folders.Folder) -> contextlib.AbstractContextManager[None]:
        return release.on_end(lambda: self._parts.runtime.forget(folder.container_id))

    def _place(
        self, name: str, plan: containers.ContainerPlan
    ) -> contextlib.AbstractAsyncContextManager[network.Network]:
        return self._parts.network.place(name, block_network=plan["block_network"], plan=plan.get("network"))

    def _compiler(self, image_id: str, image: cache.Record) -> library.Compile:
        async def compile_with(source: Path, target: Path) -> Path:
            argv = [_python(image), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", spec.LIBRARY]
            said: list[str] = []
            upper = target / "upper"
            upper.mkdir()
            code = await self._parts.steps.run(
                argv, lowers=stack.lowers(self._parts.root, image_id), upper=upper,
                env={"PATH": spec.PATH, **image["env"], "PYTHONPYCACHEPREFIX": "/compiled"},
                binds=[Bind(source, spec.LIBRARY)], log=said.append, timeout=60,
            )  # fmt: skip
            if code:
                raise exception.ExecutionError(f"the image's Python cannot compile the library: {''.join(said)}")
            return upper / "compiled" / spec.LIBRARY[1:]

        return compile_with


class _Contained:
    """``base.Running``, with the words of the control group on its end. ``hungry``: whether a kernel of its own says
    that its memory was too small, which is less than the group's."""

    def __init__(
        self, running: handle.Handle, group: cgroups.Cgroup, hungry: Callable[[], bool] | None = None
    ) -> None:
        self._hungry = hungry
        self._running = running
        self._group = group
        self.container_id = running.container_id
        self.log = running.log

    async def wait(self) -> containers.ContainerExit:
        end = await self._running.wait()
        if peak := self._group.peak():
            end["memory_peak"] = peak
        if (used := self._group.cpu_seconds()) is not None:
            end["cpu_seconds"] = used
        beside = vm_plan.OVERHEAD if self._hungry else 0
        if end.get("exit_code") != 0 and (self._group.oom() or (self._hungry and self._hungry())):
            end["reason"], end["memory_limit"] = "oom", max(0, (self._group.limit or 0) - beside)
        return end

    def interrupt(self) -> None:
        self._running.interrupt()

    def kill(self) -> None:
        self._running.kill()


def _forkable(plan: containers.ContainerPlan) -> bool:
    """Whether it may come from a template. A template's mounts would be those of all its forks."""
    return bool(plan.get("snapshot")) and not _own(plan)


def _own(plan: containers.ContainerPlan) -> str:
    """What it has that others may change, or that is only its own, in words."""
    kinds = {"volumes": "volumes", "buckets": "buckets", "nfs": "network file systems"}
    mounted = " and ".join(word for key, word in kinds.items() if plan.get(key))
    lent = "has GPUs" if plan.get("gpus") else ""
    private = "has a private address" if "address" in plan.get("network", {}) else ""
    return " and ".join(filter(None, (mounted and f"mounts {mounted}", lent, private)))


def _by_depth(ours: Sequence[Bind], theirs: Sequence[Bind]) -> list[Bind]:
    """A mount may lie in another one, and must come after it."""
    return [*ours, *sorted(theirs, key=lambda bind: bind.target.count("/"))]


def _python(image: cache.Record) -> str:
    return image.get("program") or python.NAMES[0]


def _for_template(box: spec.Box, family: families.Family) -> spec.Box:
    """A template's container: it can speak to its keeper, and be let into cells by whoever has the key."""
    return box._replace(
        binds=[*box.binds, Bind(family.door, families.DOOR)],
        env={**box.env, "WINDLASS_TEMPLATE": f"{families.DOOR}/sock"},
        seccomp=seccomp.profile(key=family.key),
    )


def _cell(box: spec.Box) -> cell.Plan:
    """The walls of ``box`` for a fork."""
    own = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
    return {
        "name": box.name, "rootfs": str(box.rootfs),
        "mounts": [own if mount["destination"] == "/sys" else mount for mount in spec.mounts(box)],
        "masked": list(spec.MASKED), "read_only": list(spec.READ_ONLY),
    }  # fmt: skip


@contextlib.contextmanager
def _killed(process: int) -> Iterator[None]:
    """Let it live until the end of the block."""
    known = os.pidfd_open(process)
    try:
        with release.on_end(lambda: _kill(known)):
            yield
    finally:
        os.close(known)


def _kill(known: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(known, signal.SIGKILL)


def _note(folder: folders.Folder, text: str) -> None:
    """A line of ours in the container's log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000000+00:00", time.gmtime())
    with folder.log.open("a") as log:
        log.write(f"{stamp} stderr F {text}\n")


def _fill(folder: folders.Folder, net: network.Network, *, is_template: bool = False) -> None:
    """The private layer's first files: names of the network, and where our own mounts go. They lie in the topmost
    layer because whatever an image holds in their places, a link for example, must not count. What names the container
    is still empty (file systems write at once what is written over)."""
    folder.path.mkdir(mode=0o711, parents=True)
    for path in (folder.bundle, folder.rootfs, folder.work):
        os.mkdir(path)  # noqa: PTH102
    upper = os.fspath(folder.upper)
    for name in ("", "/etc", "/__windlass", spec.LIBRARY, spec.SERVER, *([families.DOOR] if is_template else ())):
        os.mkdir(upper + name)  # noqa: PTH102
        _give(upper + name, 0o755)
    texts = {"/etc/resolv.conf": net.resolv_conf, "/etc/hostname": "", "/etc/hosts": "", spec.PLAN: ""}
    for name, text in texts.items():
        files.create(upper + name, text.encode())
        _give(upper + name, 0o644)
    if is_template:
        (folder.path / "door").mkdir()
        (folder.path / "door").chmod(0o755)
        (folder.path / families.CELLS).mkdir(mode=0o711)
        folders.part(folder.path / families.CELLS)
    files.create(str(folder.plan), b"", 0o400)  # holds the token
    os.chown(folder.plan, OWNER, OWNER)
    files.create(str(folder.log), b"", 0o600)


def _name(root: Path, container_id: str, net: network.Network) -> None:
    name = container_id[:63]
    files.write(f"{root}/etc/hostname", f"{name}\n".encode())
    files.write(f"{root}/etc/hosts", f"{net.hosts}{net.address or '127.0.0.1'} {name}\n".encode())


def _identify(
    folder: folders.Folder, plan: containers.ContainerPlan, net: network.Network, *, root: Path, log: bytes = b""
) -> None:  # fmt: skip
    """Make what was prepared for nobody in particular this container's."""
    _name(root, folder.container_id, net)
    files.write(str(folder.plan), json.dumps(plan["runner"]).encode())
    if log:
        folder.log.write_bytes(log)


def give(tree: Path) -> None:
    """Hand a small tree to the container's root."""
    for path in (tree, *tree.rglob("*")):
        _give(path, 0o755 if path.is_dir() else 0o644)


def _give(path: str | Path, mode: int) -> None:
    os.chown(path, OWNER, OWNER)
    os.chmod(path, mode)  # noqa: PTH101


def _removed(folder: folders.Folder) -> contextlib.AbstractAsyncContextManager[None]:
    return release.on_end_async(lambda: asyncio.to_thread(shutil.rmtree, folder.path, True))


@contextlib.contextmanager
def _stacked(folder: folders.Folder, lowers: Sequence[Path]) -> Any:
    overlay.mount(folder.rootfs, lowers=lowers, upper=folder.upper, work=folder.work)
    with release.on_end(lambda: overlay.unmount(folder.rootfs)):
        yield


@contextlib.contextmanager
def _held(value: Any, held: contextlib.AbstractContextManager[None]) -> Any:
    with held:
        yield value


async def _launched(
    runtime: oci.Oci, folder: folders.Folder, group: cgroups.Cgroup, network: Path,
    created: Callable[[int], None] | None,
) -> folders.Record:  # fmt: skip
    """Launch in a thread. When that fails, nothing of it may be left running."""
    try:
        return await asyncio.to_thread(runtime.launch, folder, enter=group.enter_argv(_into(network)), created=created)
    except exception.Error:
        folders.kill_by_files(folder.container_id, folder.pid_file, folder.monitor_file)
        raise


def _into(network: Path) -> list[str]:
    """A command line that starts what follows it in a network namespace."""
    return ["nsenter", f"--net={network}", "--"]
