"""Images leave: what nothing uses, when somebody asks for it or when time, budget or disk demand it.

    look (workers' inventories, rows) ─► decide ─► ask the worker ─► it confirms ─► rows go ─► the space is free

A row goes only after its image: a crash in between leaves a row whose image no worker has, which is never offered. A
build that comes upon an image which is just being removed waits until that is decided, and builds it anew then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Any, NamedTuple

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.decide import images as image_decisions
from windlass.server.decide import prune as decisions
from windlass.server.state import machines
from windlass.server.store import deployments, images, names, sandboxes
from windlass.wire import peer
from windlass.wire.messages import upkeep

Core = core_module.Core

_LOOK = 60.0  # seconds for a worker to say what it has, or what it has removed
_DELETE = 1800.0  # seconds for the space to become free; after that it does so unobserved
_DEFAULT_AGE = 7 * 86400.0


class Survey(NamedTuple):
    """The facts of one moment."""

    images: dict[str, decisions.Image]
    rows: dict[str, images.Row]
    sizes: dict[str, int]
    mounts: dict[str, float]
    """When each folder of a mount was made."""

    @property
    def stored(self) -> int:
        return sum(self.sizes.values())


class Removed(NamedTuple):
    """``freed``: bytes of layers."""

    names: set[str]
    freed: int


async def prune(core: Core, request: upkeep.ImagePrune) -> upkeep.ImagePruned:
    """Remove what nothing uses and the request's rule applies to; by default, what was not used for a week."""
    need_worker(core)
    async with core.upkeep:
        survey = await look(core)
        found = decisions.removals(
            survey.images, survey.sizes, in_use=in_use(core), rule=_rule(request, core.clock.now())
        )
        if request.get("dry_run"):
            return _told(survey, found, sum(one.size for one in found))
        done = await remove(core, [one.image_id for one in found])
        return _told(survey, [one for one in found if one.image_id in done.names], done.freed)


async def collect(core: Core) -> None:
    """Remove what has become too old or too much, without being asked."""
    if not core.world.workers or core.upkeep.locked():
        return
    async with core.upkeep:
        survey, settings, now = await look(core), core.settings, core.clock.now()
        disk = os.statvfs(settings.home)
        rule = decisions.automatic(
            now=now,
            keep=settings.keep_images,
            unknown=settings.keep_unknown_images,
            budget=settings.images_budget,
            stored=survey.stored,
            disk=disk.f_blocks * disk.f_frsize,
            free=disk.f_bavail * disk.f_frsize,
        )
        found = decisions.removals(survey.images, survey.sizes, in_use=in_use(core), rule=rule)
        used = _mounts_in_use(core)
        mounts = [
            name
            for name, made_at in survey.mounts.items()
            if made_at < now - settings.keep_mounts and name.partition(".")[0] not in used
        ]
        if found or mounts:
            await remove(core, [one.image_id for one in found], mounts)


def need_worker(core: Core) -> None:
    """The store of images is where the worker is."""
    if not core.world.workers:
        raise exception.ExecutionError("no worker is connected", hint="`windlass server status` says why.")


async def look(core: Core) -> Survey:
    """What workers have and rows know."""
    survey = Survey({}, {}, {}, {})
    inventories = [await _inventory(worker) for worker in list(core.world.workers.values())]
    survey.rows.update(images.everything(core.db))
    for row in survey.rows.values():
        used_at = row.built_at if row.used_at is None else row.used_at
        survey.images[row.id] = decisions.Image(row.parent, tuple(row.meta["layers"]), used_at)
    now = core.clock.now()
    for inventory in inventories:
        survey.sizes.update(inventory["sizes"])
        survey.mounts.update({one["name"]: one["made_at"] for one in inventory["mounts"]})
        for one in inventory["images"]:
            if one["image_id"] not in survey.rows:
                since = core.unknown.setdefault(one["image_id"], now)
                survey.images[one["image_id"]] = decisions.Image(None, tuple(one["layers"]), since, known=False)
    for image_id in core.unknown.keys() - survey.images.keys():
        del core.unknown[image_id]
    return survey


def in_use(core: Core) -> set[str]:
    """Images of all versions of living apps, of builds under way, handed to whoever is about to use them, or named."""
    used = {function.spec["image_id"] for function in core.world.functions.values()}
    used.update(container.spec["image_id"] for container in core.world.containers.values())
    used.update(deployments.images(core.db))
    used.update(one.spec["image_id"] for one in core.world.sandboxes.values())
    used.update(sandboxes.snapshots_kept(core.db, core.clock.now()))
    for build in core.world.builds.values():
        used.update([build.image_id, build.parent or "", *ids.within(build.recipe, "im")])
    used.update(*core.handed.values())
    used.update(name.image_id for name in names.everything(core.db))
    return used


async def remove(core: Core, wanted: Iterable[str], mounts: Collection[str] = ()) -> Removed:
    """Have all workers remove images, layers and mounts; rows follow. What a worker uses stays.

    Raises ``ConflictError`` while a backup is being made."""
    with core.gate.passing() as may:
        if not may:
            raise exception.ConflictError("images are not removed while a backup is being made")
        return await _remove(core, list(wanted), mounts)


async def _remove(core: Core, wanted: list[str], mounts: Collection[str]) -> Removed:
    for name in wanted:
        core.removing[name] = []
    removed, freed = set[str](), 0
    request: upkeep.StoreRemove = {"names": wanted, "mounts": list(mounts)}
    try:
        async with contextlib.AsyncExitStack() as held:
            streams = []
            for worker in list(core.world.workers.values()):
                stream = worker.peer.stream("store.remove", request)
                streams.append(await held.enter_async_context(contextlib.aclosing(stream)))
                answer: upkeep.StoreRemoved = (await _next(stream, _LOOK)).body
                removed.update(answer["names"])
                freed += answer["freed"]
                worker.images.difference_update(answer["names"])
            _forget(core, removed)
            _decided(core, wanted)
            for stream in streams:
                await _rest(stream)
    finally:
        _decided(core, wanted)
    return Removed(removed, freed)


def _forget(core: Core, removed: Collection[str]) -> None:
    """Rows of images that no worker has any more."""
    gone = [name for name in removed if not any(name in worker.images for worker in core.world.workers.values())]
    for name in gone:
        core.used.pop(name, None)
        core.unknown.pop(name, None)
    try:
        core.turn.begin()
        images.forget(core.db, gone)
    except exception.Error as exc:
        core.turn.abandon(exc)
        raise


def _decided(core: Core, wanted: Iterable[str]) -> None:
    """Let those go on who came upon one of these meanwhile: after the commit, when rows say what is true."""
    waiting = [go_on for name in wanted for go_on in core.removing.pop(name, [])]
    if waiting:
        core.turn.begin()
        core.turn.after += waiting


async def _inventory(worker: machines.Worker) -> upkeep.Inventory:
    inventory: upkeep.Inventory = (await _in_time(worker.peer.request("store.inventory", {}), _LOOK)).body
    return inventory


async def _next(stream: AsyncGenerator[peer.Reply, None], seconds: float) -> peer.Reply:
    reply: peer.Reply = await _in_time(anext(stream), seconds)
    return reply


async def _rest(stream: AsyncGenerator[peer.Reply, None]) -> None:
    with contextlib.suppress(StopAsyncIteration):
        while True:
            await _next(stream, _DELETE)


async def _in_time(answer: Any, seconds: float) -> Any:
    try:
        return await asyncio.wait_for(answer, seconds)
    except asyncio.TimeoutError:
        raise exception.TimeoutError(f"the worker did not answer within {seconds:g} s") from None


def _rule(request: upkeep.ImagePrune, now: float) -> decisions.Rule:
    if request.get("everything"):
        return decisions.Rule(before=float("inf"))
    budget = request.get("keep_size")
    age = request.get("older_than", _DEFAULT_AGE if budget is None else None)
    rule = decisions.Rule() if age is None else decisions.Rule(before=now - age)
    return rule if budget is None else rule._replace(budget=budget)


def _told(survey: Survey, found: list[decisions.Removal], size: int) -> upkeep.ImagePruned:
    return {
        "images": [
            {
                "image_id": one.image_id,
                "command": _command(survey, one.image_id),
                "size": one.size,
                "used_at": survey.images[one.image_id].used_at,
            }
            for one in found
        ],
        "size": size,
        "stored": survey.stored,
    }


def _command(survey: Survey, image_id: str) -> str:
    row = survey.rows.get(image_id)
    return image_decisions.command(row.recipe) if row else "(unknown to this platform)"


def _mounts_in_use(core: Core) -> set[str]:
    """Names of the folders of mounts that functions and builds use."""
    digests = {digest for function in core.world.functions.values() for digest in function.spec["mounts"]}
    digests.update(digest for container in core.world.containers.values() for digest in container.spec["mounts"])
    digests.update(build.recipe.get("mount", "") for build in core.world.builds.values())
    return {digest.removeprefix("sha256:") for digest in digests}
