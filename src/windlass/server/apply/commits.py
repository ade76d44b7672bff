"""A layer becomes a commit, when the quota allows it and, where that is wished, it is kept elsewhere."""

from __future__ import annotations

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import packs, quotas, volumes
from windlass.server.store import volumes as rows

Core = core_module.Core
_ATTEMPTS = 20  # to count while others commit


def is_simple(core: Core, row: rows.Row, layer: rows.Layer) -> bool:
    """Whether ``volumes.publish`` may follow at once: nobody must count, and nothing must be kept elsewhere."""
    return not core.blobs.is_elsewhere and not quotas.is_tight(core, row, volumes.layers_of(core, row), layer.size)


async def publish(core: Core, volume_id: str, change: volumes.Change) -> rows.Version:
    """Make a layer the newest commit.

    Raises:
        volumes.Clash: see ``volumes.publish``.
        ResourceExhaustedError: there is no room for it.
        InternalFailure: the place where objects are kept cannot be reached.
    """
    if rows.with_layer(core.db, volume_id, change.layer.id) is None:
        with packs.on_way(core, change.layer.id):
            await _make_room(core, volume_id, change)  # before anything travels, and again after
            change = change._replace(layer=await packs.keep(core, volumes.worker(core).peer, change.layer))
            await _make_room(core, volume_id, change)
    return volumes.publish(core, volumes.existing(core, volume_id), change)


async def _make_room(core: Core, volume_id: str, change: volumes.Change) -> None:
    """See that the quota allows the change; from the end of this until the next ``await`` it does."""
    for _ in range(_ATTEMPTS):
        row = volumes.existing(core, volume_id)
        stack = volumes.layers_of(core, row)
        if not quotas.is_tight(core, row, stack, change.layer.size):
            return
        await quotas.check(core, volume_id, stack, change.layer.id)
        if volumes.layers_of(core, volumes.existing(core, volume_id)) == stack:
            return
    raise exception.ConflictError("others change the volume all the time", hint="Try again.")
