"""Garbage: what was stored and is named by nothing. Age protects what is on its way to whatever shall name it.

    upload ─► blob ─► a row that names it ─► row gone ─► blob gone (``apply.blobs``)
       └─────────┴── nobody went on: swept from here, when it is old

A blob whose sender was told lately that it is here counts as young: so nobody relies on what is being removed. What is
old is looked up in all rows once more at the moment of its removal, after the commit of everything that came before.
"""

from __future__ import annotations

import asyncio

from windlass import exception
from windlass.server.apply import blobs as blob_actions
from windlass.server.apply import collections, packs, volumes
from windlass.server.apply import core as core_module
from windlass.server.decide import storage as decisions
from windlass.server.objects import blobs as blob_store
from windlass.server.store import calls, storage
from windlass.server.store import volumes as rows
from windlass.wire.messages import storage as messages

Core = core_module.Core
_SOME = 200  # blobs that are looked up in one turn


async def collect(core: Core) -> None:
    """What is older than the settings say. Layers have a look of their own (``apply.volumes.collect``)."""
    now, settings = core.clock.now(), core.settings
    await uploads(core, now - settings.keep_uploads)
    await blobs(core, now - settings.keep_unnamed_blobs)


async def gc(core: Core, request: messages.StorageGc) -> messages.StorageCollected:
    """All kinds at once, because somebody asked. Raises ``InvalidError`` for an age that is too short."""
    age, dry_run = request.get("older_than"), request.get("dry_run", False)
    if age is not None and age < decisions.SHORTEST:
        raise exception.InvalidError(
            f"what is younger than {decisions.SHORTEST:g} s may be on its way", hint="Ask for 1m or more."
        )
    now, settings = core.clock.now(), core.settings
    found = [
        await uploads(core, now - (settings.keep_uploads if age is None else age), dry_run=dry_run),
        await blobs(core, now - (settings.keep_unnamed_blobs if age is None else age), dry_run=dry_run),
    ]
    if not dry_run:
        await _entries(core)
        core.turn.begin()
        rows.forget_unnamed_layers(core.db)
    young = settings.keep_unnamed_layers if age is None else age
    try:
        layers = await volumes.sweep(core, young, dry_run=dry_run)
    except asyncio.TimeoutError:
        raise exception.TimeoutError("the worker did not answer in time") from None
    if not dry_run:
        await packs.look_after(core, now - young)
    found.append({"what": "volume layers", "count": layers["removed"], "size": layers["size"]})
    return {"garbage": found, "size": sum(one["size"] for one in found)}


async def _entries(core: Core) -> None:
    """What was in dicts and queues that were emptied or deleted."""
    while collections.sweep(core):
        await asyncio.sleep(0)


async def uploads(core: Core, before: float, *, dry_run: bool = False) -> messages.Garbage:
    """Files that became part of no volume, and uploads of whatever kind that do not go on."""
    old = [one for one in await asyncio.to_thread(list, core.uploads.stored()) if one.at < before]
    idle = core.uploads.unfinished(before) + core.blobs.unfinished(before)
    if not dry_run:
        old = [one for one in old if core.uploads.sweep(one.digest, before)]
        core.uploads.forget_unfinished(before)
        core.blobs.forget_unfinished(before)
    return _garbage("uploads", old + idle)


async def blobs(core: Core, before: float, *, dry_run: bool = False) -> messages.Garbage:
    """Blobs that neither a row nor the files of a function name."""
    old = [one for one in await asyncio.to_thread(list, core.blobs.stored()) if one.at < before]
    gone: list[blob_store.Stored] = []
    if old and core.blobs.is_elsewhere:  # lists of files will be read; one that comes later is here
        await blob_actions.bring_lists(core, decisions.digests(storage.texts(core.db)))
    while old:
        some, old = old[:_SOME], old[_SOME:]
        gone += await _unnamed(core, some, before, dry_run=dry_run)
    for stray in await core.blobs.strays(before):
        gone.append(blob_store.Stored(stray.name, stray.size, stray.at))
        if not dry_run:
            await core.blobs.remove_stray(stray)
    return _garbage("blobs", gone)


async def _unnamed(
    core: Core, some: list[blob_store.Stored], before: float, *, dry_run: bool
) -> list[blob_store.Stored]:
    """Look right after a commit: then rows say all there is, and until this returns nothing new comes."""
    done: asyncio.Future[list[blob_store.Stored]] = asyncio.get_running_loop().create_future()

    def look() -> None:
        unused = set(calls.unused(core.db, [one.digest for one in some]))
        if unused:
            unused -= named(core)
        found = [one for one in some if one.digest in unused]
        done.set_result([one for one in found if dry_run or core.blobs.sweep(one.digest, before)])

    core.turn.begin()
    core.turn.after.append(look)
    return await asyncio.wait_for(done, 60.0)


def named(core: Core) -> set[str]:
    """Digests in descriptions of functions and images, and of the files that they mount."""
    building = [str(build.recipe) for build in core.world.builds.values()]
    found = decisions.digests([*storage.texts(core.db), *building])
    return found | blob_actions.listed_in(core, found)


async def keep_elsewhere(core: Core) -> None:
    """Where blobs are kept elsewhere: give that place what lies here only, and this disk its room back."""
    await core.blobs.adopt()
    await asyncio.to_thread(core.blobs.evict, core.settings.blob_cache)


def _garbage(what: str, found: list[blob_store.Stored]) -> messages.Garbage:
    return {"what": what, "count": len(found), "size": sum(one.size for one in found)}
