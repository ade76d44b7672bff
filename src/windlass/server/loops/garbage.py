"""Forgets what nobody will ask for again, a little at a time."""

from __future__ import annotations

import asyncio
import logging

from windlass import exception
from windlass.server.apply import (
    accounting,
    blobs,
    collections,
    dicts,
    identity,
    leaps,
    nfs,
    packs,
    prune,
    queues,
    receipts,
    retention,
    sweep,
    volumes,
)
from windlass.server.apply import core as core_module
from windlass.server.apply import records as record_actions
from windlass.server.store import apps, builds, calls, logs, records, sandboxes, secrets
from windlass.server.store import receipts as receipt_rows

Core = core_module.Core
_log = logging.getLogger(__name__)
_EVERY = 5.0
_SOON = 0.1
_RARELY = 60
_SELDOM, _SOME = 720, 12  # about once in an hour, first after a minute
_REMEMBER_EXPIRED = 90 * 86400.0
_UNUSED = 86400.0  # seconds after which a secret that no version of an app has is not going to be in one
_BUILDS = 4  # whose output, some MiB each, is forgotten in one turn


async def run(core: Core) -> None:
    looks, walks = 0, (dicts.Walk(), queues.Walk())
    while True:
        looks += 1
        try:
            more = look(core)
            if leaps.is_calm(core):
                await core.clock.sleep(_EVERY)
                continue
            for walk in walks:
                walk.step(core)
            if looks % _RARELY == 0:
                more = rarely(core) or more
            if looks % _SELDOM == _SOME:
                core.tasks.start(_garbage(core), "removal of what nothing names")
        except Exception as exc:  # noqa: BLE001 - a loop's tick: log, and try again at the next
            _log.exception("forgetting old data failed")
            core.turn.abandon(exc)
            more = False
        await core.clock.sleep(_SOON if more else _EVERY)


def look(core: Core) -> bool:
    """One look: at most some hundred calls and one app. True when more is waiting."""
    now = core.clock.now()
    record_actions.put_all(core)
    identity.look(core, now)
    if leaps.is_calm(core):
        return False
    old = calls.expired(core.db, now - core.settings.keep_sync, sync=True)
    old += calls.expired(core.db, now - core.settings.keep_spawn, sync=False)
    stale = apps.expired(core.db, now - core.settings.keep_app)
    more = collections.sweep(core) or len(old) >= 500 or bool(stale)
    if old or stale:
        core.turn.begin()
        _forget_calls(core, old, now)
        for n in stale[:1]:
            blobs.drop(core, records.forget_app(core.db, n))
            apps.delete(core.db, n)
    return more


def rarely(core: Core) -> bool:
    """What needs a look once in some minutes. True when more is waiting."""
    now = core.clock.now()
    core.turn.begin()
    calls.forget_expired(core.db, now - _REMEMBER_EXPIRED)
    retention.forget(core)
    secrets.forget_unused(core.db, now - _UNUSED)
    sandboxes.forget(core.db, now - core.settings.keep_app)
    sandboxes.forget_memories(core.db, now)
    core.tasks.start(_images(core), "removal of old images")
    blobs.drop(core, core.blobs.spared())
    blobs.drop(core, receipt_rows.forget_old(core.db, now - receipts.KEEP))
    core.tasks.start(_volumes(core), "removal of old layers of volumes")
    accounting.forget(core, now - core.settings.keep_usage)
    records.forget_minutes(core.db, now - core.settings.keep_figures)
    more_audit = identity.forget(core, now)
    limits = core.settings
    digests, more = records.forget(
        core.db, before=now - limits.keep_failed, most=limits.records, bytes=limits.keep_arguments_all
    )
    blobs.drop(core, digests)
    before = now - core.settings.keep_logs
    more = builds.delete_old(core.db, before, _BUILDS) or more
    return logs.delete_old(core.db, before) or more_audit or more


async def _images(core: Core) -> None:
    try:
        await prune.collect(core)
    except exception.Error as exc:
        _log.warning("old images could not be removed: %s", exc)


async def _garbage(core: Core) -> None:
    try:
        await sweep.keep_elsewhere(core)
        await packs.look_after(core, core.clock.now() - core.settings.keep_unnamed_layers)
        await sweep.collect(core)
    except (exception.Error, asyncio.TimeoutError, OSError) as exc:
        _log.warning("what nothing names could not be removed: %s", exc)


async def _volumes(core: Core) -> None:
    try:
        await volumes.collect(core)
    except (exception.Error, asyncio.TimeoutError) as exc:
        _log.warning("old layers of volumes could not be removed: %s", exc)
    await nfs.collect(core)


def _forget_calls(core: Core, numbers: list[int], now: float) -> None:
    for n in numbers:
        call = core.world.calls_by_n.get(n)
        if call is not None and call.watchers:
            continue  # somebody still reads
        if call is not None:
            core.world.calls.pop(call.part, None)
            del core.world.calls_by_n[n]
        blobs.drop(core, calls.delete(core.db, n, now))
