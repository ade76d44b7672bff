"""How each level of isolation makes a sandbox: its memory, the cell that it lies in, and how its command begins."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from windlass.kit import clock
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker import network, site, spec
from windlass.worker.sandboxes import box, entering, gvisor, memories, sentry
from windlass.worker.sandboxes.vm import parts as vm_parts
from windlass.worker.sandboxes.vm import plan as vm_plan
from windlass.worker.sandboxes.vm import room as vm_room
from windlass.worker.snapshots import cell
from windlass.worker.snapshots import filter as filters


class Opening(NamedTuple):
    """A sandbox whose cell stands. ``ended``: of the exit status of its command."""

    home: box.Home
    walls: spec.Box
    inside: entering.Inside
    net: network.Network
    ended: asyncio.Future[int]


class Way(Protocol):
    """One level, for one sandbox."""

    beside: int
    """Bytes that its control group has beside its memory."""

    def asked(self, asked: box.Asked) -> box.Asked:
        """With what is to be known of it later."""

    def memory(self) -> int:
        """Bytes of it."""

    async def cell(self, walls: spec.Box, folder: folders.Folder) -> cell.Plan:
        """Raises ``NotFoundError`` where what it goes on with is not here."""

    async def start(self, one: Opening) -> int:
        """Start its command; the process to interrupt. Raises ``ExecutionError``."""


async def of(plan: containers.ContainerPlan, place: site.Site) -> Way:
    """That of the level which is asked for. Raises ``UnimplementedError`` where it is not here."""
    level = plan["sandbox"].get("runtime", "")
    if level == sentry.LEVEL:
        return _Sentry(plan, place, (await place.parts.levels.tried(level)).gvisor())
    if level == vm_parts.LEVEL:
        return _Machine(plan, place, (await place.parts.levels.tried(level)).vm())
    return _Container(plan, place)


def hungry(folder: folders.Folder, level: str) -> tuple[Callable[[], bool] | None, int]:
    """What tells whether a kernel of its own has found the memory of a sandbox that runs too small, and the bytes that
    the group has beside that."""
    if level != vm_parts.LEVEL:
        return None, 0
    return lambda: vm_room.hungry(folder), _Machine.beside


class _Container:
    """That of all containers: namespaces, capabilities, a filter."""

    beside = 0

    def __init__(self, plan: containers.ContainerPlan, place: site.Site) -> None:
        self._plan = plan
        self._site = place

    def asked(self, asked: box.Asked) -> box.Asked:
        return asked

    def memory(self) -> int:
        return self._site.memory(self._plan)

    async def cell(self, walls: spec.Box, folder: folders.Folder) -> cell.Plan:
        return site.cell_of(walls)

    async def start(self, one: Opening) -> int:
        return await self._site.parts.starter.start(one.home.folder.container_id, one.inside)


class _Sentry(_Container):
    """A kernel of its own, in a program."""

    def __init__(self, plan: containers.ContainerPlan, place: site.Site, runsc: sentry.Runsc) -> None:
        super().__init__(plan, place)
        self._runsc = runsc
        self._restored = plan["sandbox"].get("restore", False)

    def asked(self, asked: box.Asked) -> box.Asked:
        return {**asked, "level": sentry.LEVEL, "inner": sentry.ROOT, "loopback": sentry.VISITED}

    async def cell(self, walls: spec.Box, folder: folders.Folder) -> cell.Plan:
        root = self._site.parts.root
        memory = memories.folder(root, self._plan["image_id"]) if self._restored else None
        return sentry.plan(walls, self._runsc, sentry.stub(root), gvisor.bundle(folder), memory)

    async def start(self, one: Opening) -> int:
        room = gvisor.Room(one.home, self._runsc, self._site.open_files)
        room.furnish(one.walls, one.inside)
        await room.connect()
        entry = room.entry(one.inside, restored=self._restored)
        process = await self._site.parts.starter.start(one.home.folder.container_id, entry)
        await room.up(one.ended, clock.SystemClock())
        return process


class _Machine(_Container):
    """A virtual machine."""

    beside = vm_plan.OVERHEAD

    def __init__(self, plan: containers.ContainerPlan, place: site.Site, parts: vm_parts.Parts) -> None:
        super().__init__(plan, place)
        self._machine = parts

    def asked(self, asked: box.Asked) -> box.Asked:
        return {**asked, "level": vm_parts.LEVEL, "inner": vm_plan.ROOT, "accel": self._machine.accel}

    def memory(self) -> int:
        limit, request = self._plan["memory_limit"] * site.MIB, self._plan["memory_request"] * site.MIB
        return vm_plan.memory(limit, request, self._site.parts.memory)

    async def cell(self, walls: spec.Box, folder: folders.Folder) -> cell.Plan:
        root = self._site.parts.root
        staged = await asyncio.to_thread(vm_parts.made, self._machine, root)
        return vm_plan.cell_of(walls, self._machine, staged, vm_plan.stub(root), vm_room.bundle(folder))

    async def start(self, one: Opening) -> int:
        plan, profile = self._plan, self._site.profile
        room = vm_room.Room(one.home, self._machine)
        own = "" if plan["block_network"] else one.net.address
        cpus = plan["cpu_limit"] or plan["cpu_request"]
        program = filters.Filter(profile).program() if profile else b""
        asked = vm_plan.Asked(one.walls.memory, cpus, plan["pids_limit"] or site.PIDS, own, program)
        entry = room.furnish(one.walls, asked, one.inside)
        process = await self._site.parts.starter.start(one.home.folder.container_id, entry)
        await room.up(one.ended, clock.SystemClock())
        return process
