"""Volumes and network file systems in build steps.

A step mounts what a function would, by the same code, but it is a child of the worker and ends with it. So its
mounts are never exchanged, and when it has ended all that it wrote is committed before its layer is published:

    building/<image id>/volumes/   as in a container's folder; gone when everything in it is committed

A step that is given up, or whose worker is killed, leaves that folder: ``rescue`` commits what lies there.
"""
from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from windlass import exception
from windlass.kit import trees
from windlass.wire.messages import containers, workers
from windlass.wire.messages import volumes as messages
from windlass.worker import folder as folders
from windlass.worker import spec

if TYPE_CHECKING:
    from windlass.worker.volumes import service


class Steps:
    """Mounts of all steps on this machine. A step is known by the image that it makes."""

    def __init__(self, volumes: service.Volumes, home: Path) -> None:
        self._volumes = volumes
        self._home = home
        self._locks: collections.defaultdict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)
        self._left: asyncio.Queue[str] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def mounted(self, plan: workers.BuildPlan) -> AsyncIterator[list[spec.Bind]]:
        """Binds for the step of ``plan``. Leaving the block commits, whether the step worked or not.

        Raises:
            ImageBuildError: the step worked, but what it wrote to a volume could not be committed.
        """
        if not plan.get("volumes") and not plan.get("nfs"):
            yield []
            return
        name = plan["image_id"]
        folder = folders.Folder(self._home, name, kind=folders.STEPS)
        async with self._locks[name]:
            await self._settle(name)
            volumes = [await self._newest(one) for one in plan.get("volumes", [])]
            mounts = cast(
                containers.ContainerPlan, {"container_id": name, "volumes": volumes, "nfs": plan.get("nfs", [])}
            )
            try:
                async with self._volumes.open(mounts, folder) as binds:
                    async with self._volumes.following(name, folder, 0) as lost:
                        yield sorted(binds, key=lambda bind: bind.target.count("/"))
            except asyncio.CancelledError:
                self._left.put_nowait(name)
                raise
            except BaseException:
                await asyncio.to_thread(trees.remove, folder.path)
                raise
            await asyncio.to_thread(trees.remove, folder.path)
        if lost:
            raise exception.ImageBuildError(f"what the step wrote to a volume could not be committed: {lost[0]}")

    async def _newest(self, one: messages.MountPlan) -> messages.MountPlan:
        """The plan was made before an earlier step of this name was settled."""
        head = await self._volumes.head(one["volume_id"])
        return {**one, "base": head["version"], "layers": head["layers"]}

    async def rescue(self) -> None:
        """Commit what steps left that were given up, or whose worker was killed. Until cancelled."""
        for name in folders.known(self._home, folders.STEPS):
            self._left.put_nowait(name)
        while True:
            name = await self._left.get()
            async with self._locks[name]:
                await self._settle(name)

    async def _settle(self, name: str) -> None:
        folder = folders.Folder(self._home, name, kind=folders.STEPS)
        if folder.path.exists():
            async with self._volumes.following(name, folder, 0):
                pass
            await asyncio.to_thread(trees.remove, folder.path)
