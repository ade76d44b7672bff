"""Volumes of this worker: what containers mount, commit and reload, and what the server asks of layers.

    container's commit ─► server ─► ``take`` here: freeze or copy, make a layer ─► ``volume.publish`` ─► new version
                                                                              ◄─ layers of now: show them

The same happens every few seconds for whatever changed (without showing anything new), and once more when a container
has ended. A commit is kept when the server has answered ``volume.publish``; before that, all of it is in the
container's folder, which stays until then, whoever is killed.
"""
from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from windlass import exception
from windlass.kit import tasks
from windlass.wire.messages import containers
from windlass.wire.messages import volumes as messages
from windlass.worker import folder as folders
from windlass.worker import release, spec
from windlass.worker.volumes import checking, mounted, nfs, stepping, swap
from windlass.worker.volumes import layers as layer_store

T = TypeVar("T")
Call = Callable[[str, Any, Sequence[bytes]], Awaitable[Any]]
_EVERY = 5.0  # seconds between commits in the background
_SHARE = 20  # a commit in the background may take a twentieth of the time
_FINAL_ATTEMPTS = 10
_ADOPTION = 60.0  # seconds until a worker that has just begun follows the containers that it found
_LASTING = (exception.NotFoundError, exception.InvalidError)  # it does not go by itself
_log = logging.getLogger(__name__)


class Volumes:
    """Everything about volumes and network file systems below ``home``."""

    def __init__(self, home: Path) -> None:
        self.layers = layer_store.Layers(home)
        self.nfs = nfs.Folders(home)
        self.steps = stepping.Steps(self, home)
        self.scrub = checking.Scrub(self.layers, found=self.spoiled)
        self._home = home
        self._mounts: dict[str, dict[str, mounted.Mount]] = {}
        self._followed: dict[str, asyncio.Event] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._call: Call | None = None
        self._end: Callable[[str, str], None] = lambda container_id, why: None
        self._say: Callable[[str, str], None] = lambda container_id, text: None
        self._told: set[tuple[str, str]] = set()
        """In whose log it stands already that a volume takes no commits."""
        self._connected = asyncio.Event()

    def connect(self, call: Call, end: Callable[[str, str], None], say: Callable[[str, str], None]) -> None:
        """Give the way to the server, to end a container with a reason, and to its log."""
        self._call, self._end, self._say = call, end, say
        self._connected.set()

    # -- the life of a container -----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def open(self, plan: containers.ContainerPlan, folder: folders.Folder) -> AsyncIterator[list[spec.Bind]]:
        """Binds for what a container mounts. Inside the block its process is started."""
        made: list[mounted.Mount] = []
        binds = [spec.Bind(self.nfs.files(one["nfs_id"]), one["path"], writable=True) for one in plan.get("nfs", [])]
        try:
            for number, one in enumerate(plan.get("volumes", [])):
                with self.layers.hold(one["layers"]):
                    mount = mounted.new(folder.path / mounted.FOLDER / str(number), one, self.layers)
                    made.append(mount)
                    root = await _to_its_end(mount.begin)
                binds.append(spec.Bind(root, one["path"], writable=not one["read_only"]))
            self._mounts[plan["container_id"]] = {mount.volume_id: mount for mount in made}
            yield binds
        except BaseException:
            self._mounts.pop(plan["container_id"], None)
            raise
        finally:
            for mount in made:
                mount.forget_own()

    @contextlib.asynccontextmanager
    async def following(
        self, container_id: str, folder: folders.Folder, pid: int
    ) -> AsyncIterator[list[exception.Error | OSError]]:
        """Commit in the background while the block runs, and finally when it is left; not when the worker ends.

        What it yields is filled then: the reasons why something was not committed.
        """
        lost: list[exception.Error | OSError] = []
        if container_id not in self._mounts:
            self._mounts[container_id] = {m.volume_id: m for m in mounted.load(folder.path, self.layers)}
            await _to_its_end(self._mend, container_id, pid if pid and folders.start_time(pid) else 0)
        self._followed.setdefault(container_id, asyncio.Event()).set()
        over = asyncio.Event()
        writable = [mount for mount in self._mounts[container_id].values() if not mount.plan["read_only"]]
        try:
            async with tasks.Tasks(self._failed) as background:
                running = [
                    background.start(self._committing(container_id, mount, over), f"commits of {container_id}")
                    for mount in writable
                ]
                async with release.on_end_async(lambda: self._finish(container_id, over, running, lost)):
                    yield lost
        finally:
            self._mounts.pop(container_id, None)
            self._followed.pop(container_id, None)

    def _mend(self, container_id: str, pid: int) -> None:
        for mount in self._mounts[container_id].values():
            try:
                mount.mend(pid)
            except (OSError, exception.Error, swap.Busy) as exc:
                _log.warning("the volume at %s of %s is not mounted: %s", mount.plan["path"], container_id, exc)

    async def spoiled(self) -> None:
        """End the containers that show something damaged. They read from the layers themselves, and nothing else would
        keep it from them; what they committed or wrote meanwhile is kept as always."""
        showing = {
            name: [(list(one.plan["layers"]), one.plan["sub_path"]) for one in mounts.values()]
            for name, mounts in self._mounts.items()
        }
        for container_id, why in (await asyncio.to_thread(self._damaged, showing)).items():
            self._end(container_id, why)

    def _damaged(self, showing: dict[str, list[tuple[list[str], str]]]) -> dict[str, str]:
        found = {}
        for container_id, stacks in showing.items():
            try:
                for stack, below in stacks:
                    checking.refuse(checking.visible(self.layers, stack), below=below)
            except exception.DataLossError as exc:
                found[container_id] = str(exc)
        return found

    def used(self) -> set[str]:
        """Layers that containers here show, or have not committed."""
        found = self.layers.held()
        for mounts in self._mounts.values():
            for mount in mounts.values():
                found |= mount.used()
        for kind in (folders.CONTAINERS, folders.STEPS):
            for name in set(folders.known(self._home, kind)) - self._mounts.keys():
                for mount in mounted.load(folders.Folder(self._home, name, kind=kind).path, self.layers):
                    found |= mount.used()
        return found

    # -- commits ---------------------------------------------------------------------------------------------

    async def take(self, request: messages.MountTake) -> messages.MountTaken:
        """Commit, and then show what is newest: if that is what was asked for, or if nothing is in its way.

        Raises:
            ConflictError: the container must close something first.
        """
        container_id, volume_id = request["container_id"], request["volume_id"]
        pid = _process(self._home, container_id)
        await self._adopted(container_id)
        mount = self._mounts.get(container_id, {}).get(volume_id)
        if mount is None:
            raise exception.NotFoundError(f"container {container_id} does not mount volume {volume_id}")
        async with self._lock(container_id, volume_id):
            if mount.plan["read_only"]:
                if not request["reload"]:
                    raise exception.ExecutionError("the volume is mounted read-only here")
                await self._show(mount, pid, anyway=True)
                return {"version": mount.plan["base"]}
            try:
                if not mount.is_clean():
                    await asyncio.to_thread(mount.check_paths)  # what is frozen could not be removed any more
                    if await self._is_tight(mount):  # nothing is frozen before there is room for it
                        await self._commit(container_id, mount, live=True, final=True)
                    await _to_its_end(mount.exchange, pid)
            except swap.Busy:
                if request["reload"]:
                    raise await self._busy(mount, pid) from None
                await self._commit(container_id, mount, live=True)
            else:
                await self._commit(container_id, mount, live=False)
            try:
                version = await self._show(mount, pid, anyway=request["reload"])
            except exception.ConflictError:
                if request["reload"]:
                    raise
                version = mount.plan["base"]
            return {"version": version}

    async def _is_tight(self, mount: mounted.Mount) -> bool:
        """Whether there may be no room for what the container wrote."""
        head = await self._ask("volume.head", {"volume_id": mount.volume_id})
        left: int = head.get("left", -1)
        return left >= 0 and await asyncio.to_thread(mount.size) > left

    async def _adopted(self, container_id: str) -> None:
        """The server may ask before this worker has put right what the one before left: an exchange that begins
        meanwhile would be cleared away as a half one."""
        followed = self._followed.setdefault(container_id, asyncio.Event())
        try:
            await asyncio.wait_for(followed.wait(), _ADOPTION)
        except asyncio.TimeoutError:
            raise exception.ServiceError(f"the worker does not follow container {container_id} yet") from None

    async def _show(self, mount: mounted.Mount, pid: int, *, anyway: bool) -> int:
        """Let the container see the newest version. ``anyway``: a program that would fail when there is something new
        shall fail when there is nothing new, too."""
        head = await self.head(mount.volume_id)
        if not anyway and (head["version"], head["layers"]) == (mount.plan["base"], mount.plan["layers"]):
            return int(head["version"])
        try:
            await _to_its_end(mount.exchange, pid, (head["version"], head["layers"]))
        except swap.Busy:
            raise await self._busy(mount, pid) from None
        return int(head["version"])

    async def _busy(self, mount: mounted.Mount, pid: int) -> exception.ConflictError:
        place = mount.place(pid)
        use = "" if place is None else await asyncio.to_thread(swap.user_of, pid, place)
        return exception.ConflictError(
            f"volume busy: there are open files preventing the operation: {use or 'something uses it'}",
            hint="Close its files, and leave its folders, before a reload.",
        )

    async def _commit(
        self, container_id: str, mount: mounted.Mount, *, live: bool, final: bool = False, patient: bool = False
    ) -> None:
        """Bring everything that is not committed to the server. ``live``: also what the container still writes to.
        ``patient``: but large files only when they rest."""
        newest = mount.newest()
        for upper in list(mount.uncommitted(frozen=not live and not final)):
            if (left := mount.pending(upper)) is not None:
                await self._publish(container_id, mount, upper, left)
            if upper["done"]:
                continue
            is_live = live and upper is newest
            pending = await _to_its_end(mount.make, upper, live=is_live, final=final, patient=patient)
            if pending is not None:
                await self._publish(container_id, mount, upper, pending)

    async def _publish(
        self, container_id: str, mount: mounted.Mount, upper: mounted.Upper, pending: mounted.Pending
    ) -> None:
        made = pending.made
        body: messages.VolumePublish = {
            "volume_id": mount.volume_id, "container_id": container_id, "base": mount.plan["base"],
            "layer_id": made.layer_id, "digest": made.digest, "files": made.files, "size": made.size,
        }  # fmt: skip
        clears, seen = made.clears, list[str]()
        while True:
            lists = [_joined(made.puts), _joined(clears), _joined(seen)]
            try:
                reply: messages.VolumePublished = await self._ask("volume.publish", body, lists)
            except exception.ResourceExhaustedError:
                await _to_its_end(mount.refused, upper, pending)
                raise
            if not reply["clash"]:
                await _to_its_end(mount.committed, upper, pending)
                return
            clears, known = await _to_its_end(mount.spare, upper, made.layer_id, reply["clash"], clears)
            seen += known

    async def _committing(self, container_id: str, mount: mounted.Mount, over: asyncio.Event) -> None:
        wait = _EVERY
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), wait)
                return
            began = loop.time()
            try:
                async with self._lock(container_id, mount.volume_id):
                    await self._commit(container_id, mount, live=True, patient=True)
            except (exception.Error, OSError) as exc:
                _log.warning("volume %s of %s was not committed: %s", mount.volume_id, container_id, exc)
                if isinstance(exc, _LASTING):
                    self._tell(container_id, mount, exc)
            wait = max(_EVERY, _SHARE * (loop.time() - began))

    async def _finish(
        self, container_id: str, over: asyncio.Event, running: Sequence[asyncio.Task[None]],
        lost: list[exception.Error | OSError],
    ) -> None:  # fmt: skip
        """The last commits, after those in the background: what these do in threads cannot be cancelled."""
        over.set()
        if running:
            await asyncio.wait(running)
        for mount in self._mounts[container_id].values():
            if mount.plan["read_only"]:
                continue
            if (failed := await self._last(container_id, mount)) is not None:
                lost.append(failed)
                self._tell(container_id, mount, failed)
            self._locks.pop((container_id, mount.volume_id), None)
            self._told.discard((container_id, mount.volume_id))

    def _tell(self, container_id: str, mount: mounted.Mount, exc: exception.Error | OSError) -> None:
        """Say once in a container's log that what it writes is not kept. Where there is no room the server does."""
        which = container_id, mount.volume_id
        if not isinstance(exc, exception.ResourceExhaustedError) and which not in self._told:
            self._told.add(which)
            self._say(container_id, f"What was written at {mount.plan['path']} is not committed: {exc}")

    async def _last(self, container_id: str, mount: mounted.Mount) -> exception.Error | OSError | None:
        """The last commit of a mount; why it was given up."""
        failed: exception.Error | OSError | None = None
        for attempt in range(_FINAL_ATTEMPTS):
            try:
                async with self._lock(container_id, mount.volume_id):
                    await self._commit(container_id, mount, live=False, final=True)
                return None
            except (exception.Error, OSError) as exc:
                failed = exc
                _log.warning("last commit of volume %s by %s: %s", mount.volume_id, container_id, exc)
                if isinstance(exc, _LASTING):
                    break
            await asyncio.sleep(min(2.0, 0.05 * 2**attempt))
        return failed

    # -- the server ------------------------------------------------------------------------------------------

    async def head(self, volume_id: str) -> messages.VolumeHead:
        """The newest version of a volume."""
        head: messages.VolumeHead = await self._ask("volume.head", {"volume_id": volume_id})
        return head

    async def _ask(self, method: str, body: Any, attachments: Sequence[bytes] = ()) -> Any:
        await self._connected.wait()
        assert self._call is not None
        return await self._call(method, body, attachments)

    def _lock(self, container_id: str, volume_id: str) -> asyncio.Lock:
        return self._locks.setdefault((container_id, volume_id), asyncio.Lock())

    def _failed(self, name: str, exc: BaseException) -> None:
        _log.error("task %s failed", name, exc_info=exc)


async def _to_its_end(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """In a thread, which nobody can cancel: so whoever is cancelled waits until it has ended. The next who looks at the
    mount, maybe in this worker, finds nobody at work there."""
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(None, functools.partial(work, *arguments, **options))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def _process(home: Path, container_id: str) -> int:
    record = folders.Folder(home, container_id).read()
    if record is None:
        raise exception.NotFoundError(f"container {container_id} is not running")
    return record["pid"]


def _joined(paths: list[str]) -> bytes:
    return b"\0".join(os.fsencode(path) for path in paths)
