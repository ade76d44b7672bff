"""How a sandbox that runs is reached, by its level: its commands, ports, files and memory."""
from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from windlass import exception
from windlass.kit import clock, tasks
from windlass.worker import folder as folders
from windlass.worker import site
from windlass.worker.sandboxes import box, execs, gvisor, memories, sentry, visiting
from windlass.worker.sandboxes.vm import parts as vm_parts
from windlass.worker.sandboxes.vm import room as vm_room


class Reaching:
    """Of all sandboxes of this machine; see ``base.Runtime``."""

    def __init__(self, place: site.Site) -> None:
        self._site = place
        self._parts = place.parts
        self._machines = vm_room.Machines()

    def home(self, container_id: str) -> box.Home:
        """Raises ``ConflictError`` where it does not run, ``NotFoundError`` where it is no sandbox."""
        folder = folders.Folder(self._parts.root, container_id)
        try:
            asked = box.load(folder)  # first: most that are asked about are no sandboxes
        except exception.NotFoundError:
            if _running(folder) is not None:
                raise
            asked = None  # it is being removed, or was
        record = _running(folder)
        if asked is None or record is None:
            raise exception.ConflictError("the sandbox does not run")
        doors = [str(door) for door in self._parts.cgroups.find(container_id).doors]
        return box.Home(folder, record, asked, doors)

    def commands(self, home: box.Home, owner: tasks.Tasks) -> execs.Starter:
        """What starts commands in it. Raises ``UnimplementedError`` where its level is gone."""
        if home.level == vm_parts.LEVEL:
            return self._inmates(home)
        if home.level != sentry.LEVEL:
            return self._parts.starter
        return gvisor.Commands(self._room(home), self._parts.starter, owner, clock.SystemClock())

    async def port(self, home: box.Home, number: int) -> socket.socket:
        """Raises ``ConflictError`` where nobody listens."""
        if home.level == vm_parts.LEVEL:
            return await self._inmates(home).connect(number)
        return await visiting.inside(visiting.Where(home.record["pid"], home.loopback), number)

    async def settle(self, home: box.Home) -> None:
        """Have what it wrote reach its files."""
        if home.level == vm_parts.LEVEL:
            await self._inmates(home).sync()

    def memory(self, home: box.Home) -> contextlib.AbstractAsyncContextManager[Path]:
        """Raises ``UnimplementedError`` where its level keeps none."""
        if home.level != sentry.LEVEL:
            raise exception.UnimplementedError(
                'the memory of sandboxes can be kept with runtime="gvisor" alone', hint="See `windlass doctor`."
            )
        return memories.taken(self._room(home), self._parts.starter)

    def _room(self, home: box.Home) -> gvisor.Room:
        return gvisor.Room(home, self._parts.levels.known.gvisor(), self._site.open_files)

    def _inmates(self, home: box.Home) -> vm_room.Commands:
        return vm_room.Commands(home, self._machines, home.asked["accel"])


def _running(folder: folders.Folder) -> folders.Record | None:
    """What is known of a container whose process lives."""
    record = folder.read()
    return record if record is not None and folders.alive(record["pid"], record["pid_start"]) else None
