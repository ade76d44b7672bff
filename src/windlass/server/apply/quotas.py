"""Quotas: how many bytes the newest version of a volume may show, and how much may be stored in all.

Rows know how large layers are, so at most how much a stack of them shows. That is enough nearly always. Only where
this bound does not fit, a worker counts what the stack really shows; the figure is remembered, and bounds begin there.
What would exceed a quota is refused as a whole: what is committed stays as it is, and what is not committed stays
where it was made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import logs, packs, volumes
from windlass.server.decide import storage as decisions
from windlass.server.store import storage
from windlass.server.store import volumes as rows
from windlass.wire.messages import volumes as messages

Core = core_module.Core
_COUNT = 600.0  # seconds for a worker to count the files of a volume
_LIMIT = 2**62
_GRAIN = 16 * 1024 * 1024
_log = logging.getLogger(__name__)


def quota_of(core: Core, row: rows.Row) -> int:
    """Bytes; 0 for no limit."""
    return core.settings.volume_quota if row.quota is None else row.quota


def set_quota(core: Core, row: rows.Row, quota: int | None) -> None:
    """Of one that is smaller than what the volume has now, only what makes the volume smaller is accepted."""
    if quota is not None and not 0 <= quota <= _LIMIT:
        raise exception.InvalidError(f"a quota of {quota:,} bytes makes no sense")
    core.turn.begin()
    rows.set_quota(core.db, row.id, quota)


def room(core: Core, row: rows.Row) -> int:
    """Bytes that fit surely; -1 where there is no limit."""
    limits = []
    if quota := quota_of(core, row):
        limits.append(quota - _bound(core, row.id, volumes.layers_of(core, row)))
    if core.settings.storage_quota:
        limits.append(core.settings.storage_quota - total(core))
    return max(0, min(limits)) if limits else -1


def check_size(core: Core, row: rows.Row, size: int) -> None:
    """Refuse an upload that cannot fit, whatever it replaces, before it is sent."""
    for quota, what in ((quota_of(core, row), _named(row)), (core.settings.storage_quota, "the platform")):
        if quota and size > quota:
            raise exception.ResourceExhaustedError(
                f"{size:,} bytes do not fit into the {quota:,} bytes that {what} may have", hint=_hint(row)
            )


# -- volumes -----------------------------------------------------------------------------------------------


def is_tight(core: Core, row: rows.Row, stack: Sequence[str], added: int = 0) -> bool:
    """Whether somebody must count before the volume may show ``stack`` with ``added`` bytes on top."""
    quota, in_all = quota_of(core, row), core.settings.storage_quota
    if not quota and not in_all:
        return False
    after = _bound(core, row.id, stack) + added
    if quota and after > quota:
        return True
    before = _bound(core, row.id, volumes.layers_of(core, row))
    return bool(in_all) and total(core) - before + after > in_all


async def check(core: Core, volume_id: str, stack: Sequence[str], new: str = "") -> None:
    """Count, and refuse what does not fit. ``new``: a layer on top that no version names yet.

    Raises:
        ResourceExhaustedError: a quota would be exceeded, and the volume would grow.
    """
    row = volumes.existing(core, volume_id)
    head = volumes.layers_of(core, row)
    before = await _count(core, volume_id, head)
    shown = [*stack, new] if new else list(stack)
    after = await _counted(core, shown)
    row = volumes.existing(core, volume_id)
    quota, in_all = quota_of(core, row), core.settings.storage_quota
    if not decisions.fits(after, before, quota):
        raise exception.ResourceExhaustedError(
            f"{_named(row)} is full: {before:,} of {quota:,} bytes are used, and it would have {after:,}",
            hint=_hint(row),
        )
    if in_all and total(core) - before + after > in_all:
        await _count_all(core)
        used = total(core)
        if not decisions.fits(used - before + after, used, in_all):
            raise exception.ResourceExhaustedError(_full(used, in_all), hint=_HINT)
    core.measured[volume_id] = shown, after


def _bound(core: Core, volume_id: str, stack: Sequence[str]) -> int:
    sizes = {}
    for layer in stack:
        row = rows.layer(core.db, layer)
        sizes[layer] = row.size if row is not None else 0
    return decisions.bound(stack, sizes, core.measured.get(volume_id))


async def used(core: Core, volume_id: str) -> int:
    """Bytes that the newest version of a volume shows, counted."""
    return await _count(core, volume_id, volumes.layers_of(core, volumes.existing(core, volume_id)))


async def _count(core: Core, volume_id: str, stack: Sequence[str]) -> int:
    """Bytes that a stack shows."""
    known = core.measured.get(volume_id)
    if known is None or known[0] != list(stack):
        known = core.measured[volume_id] = list(stack), await _counted(core, stack)
    return known[1]


async def _counted(core: Core, stack: Sequence[str]) -> int:
    if not stack:
        return 0
    worker = volumes.worker(core).peer
    await packs.ensure(core, worker, stack)
    request: messages.LayersCount = {"layers": list(stack)}
    answer = worker.request("layers.count", request)
    counted: messages.LayersCounted = (await asyncio.wait_for(answer, _COUNT)).body
    return counted["size"]


# -- in all ------------------------------------------------------------------------------------------------


def total(core: Core) -> int:
    """Bytes that are stored in all, at most."""
    sizes, measured = rows.layer_sizes(core.db), core.measured
    shown = sum(decisions.bound(stack, sizes, measured.get(one)) for one, _, stack in rows.heads(core.db))
    return shown + core.blobs.total() + storage.used(core.db)


async def _count_all(core: Core) -> None:
    for volume_id, _, stack in rows.heads(core.db):
        await _count(core, volume_id, stack)


def look(core: Core) -> None:
    """Note, from time to time, whether all that is stored has reached its quota."""
    in_all = core.settings.storage_quota
    if not in_all or total(core) < in_all:
        core.over_quota = ""
    elif not core.measuring:
        core.measuring = True
        core.tasks.start(_measured(core, in_all), "measuring of all volumes")


async def _measured(core: Core, in_all: int) -> None:
    try:
        if core.world.workers:
            await _count_all(core)
        size = total(core)
        core.over_quota = _full(size, in_all) if size >= in_all else ""
    except (exception.Error, asyncio.TimeoutError) as exc:
        _log.warning("volumes could not be measured: %s", exc)
    finally:
        core.measuring = False


def check_piece(core: Core, offset: int, size: int) -> None:
    """``check_in_all`` for a piece of something large, now and then."""
    if core.over_quota or offset % _GRAIN == 0:
        check_in_all(core, offset + size)


def check_fork(core: Core, row: rows.Row, stack: Sequence[str]) -> None:
    """A fork counts as much as what it was made of."""
    check_in_all(core, _bound(core, row.id, stack))


def check_in_all(core: Core, added: int = 0) -> None:
    """Refuse values and uploads when nothing more may be stored."""
    in_all = core.settings.storage_quota
    if core.over_quota:
        raise exception.ResourceExhaustedError(core.over_quota, hint=_HINT)
    if in_all and added and (size := total(core)) + added > in_all:
        raise exception.ResourceExhaustedError(_full(size, in_all), hint=_HINT)


# -- words -------------------------------------------------------------------------------------------------

_HINT = (
    "`windlass storage usage` shows what takes the room: delete volumes, files, dicts or queues, or raise "
    "WINDLASS_SERVER_STORAGE_QUOTA."
)


def _full(size: int, in_all: int) -> str:
    return f"the storage of the platform is full: {size:,} of {in_all:,} bytes are used"


def _named(row: rows.Row) -> str:
    return f"volume {row.name or row.id}"


def _hint(row: rows.Row) -> str:
    name = row.name or row.id
    return f"Remove files (`windlass volume rm {name} PATH`) or allow more (`windlass volume quota {name} SIZE`)."


def tell(core: Core, container_id: str, volume_id: str, exc: exception.Error) -> None:
    """Say in a container's log, once, that what it wrote is not committed."""
    container = core.world.containers.get(container_id)
    if container is None or (container_id, volume_id) in core.refused:
        return
    core.refused.add((container_id, volume_id))
    logs.system(
        core, container,
        f"changes in a volume are not committed: {exc}. {exc.hint}\nThey are tried again every few "
        "seconds; what is not committed when the container ends is lost.",
    )  # fmt: skip
