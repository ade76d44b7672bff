"""Layers of volumes in the place where objects are kept: there before a commit is acknowledged, brought where missing.

    worker: layer ─► packs/<id>.tar ─► server: object volumes/<id>.tar ─► row with its digest ─► commit
    layer is wanted and not here: object ─► packs/<id>.tar, compared with its digest ─► worker: layer

Where objects are kept on this disk none of this happens: the layers on the worker are what there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.store import volumes as rows
from windlass.wire import peer
from windlass.wire.messages import volumes as messages

Core = core_module.Core
_TAKE = 1800.0  # seconds for a worker to make an archive, or a layer of one
_FOLDER = "volumes/"


@contextlib.contextmanager
def on_way(core: Core, layer_id: str) -> Iterator[None]:
    """Let nobody sweep a layer before a version names it."""
    core.on_way.add(layer_id)
    try:
        yield
    finally:
        core.on_way.discard(layer_id)


async def keep(core: Core, worker: peer.Peer, layer: rows.Layer) -> rows.Layer:
    """The layer with its archive kept, if that is so here.

    Raises:
        InternalFailure: the place cannot be reached. Nothing is lost: the layer stays where it is.
    """
    if not core.blobs.is_elsewhere:
        return layer
    request: messages.LayerRef = {"layer_id": layer.id}
    answer = worker.request("layers.pack", request)
    packed: messages.Packed = (await asyncio.wait_for(answer, _TAKE)).body
    source = _file(core, layer.id)
    try:
        await core.objects.keep(_name(layer.id), source)
    finally:
        source.unlink(missing_ok=True)
    return layer._replace(pack=packed["digest"])


async def ensure(core: Core, worker: peer.Peer, stack: Sequence[str]) -> None:
    """See that the worker has these layers.

    Raises:
        NotFoundError: one is nowhere.
        DataLossError: what is kept of one is something else.
    """
    if not core.blobs.is_elsewhere or not stack:
        return
    request: messages.LayersLacking = {"layers": list(stack)}
    answer = worker.request("layers.lacking", request)
    lacking: messages.LayersLacking = (await asyncio.wait_for(answer, _TAKE)).body
    for layer_id in lacking["layers"]:
        async with core.bringing:
            await _bring(core, worker, layer_id)


async def _bring(core: Core, worker: peer.Peer, layer_id: str) -> None:
    row = rows.layer(core.db, layer_id)
    if row is None or row.pack is None:
        raise exception.NotFoundError(f"layer {layer_id} of a volume is neither on this machine nor kept elsewhere")
    target = _file(core, layer_id)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        await core.objects.bring(_name(layer_id), target)
        found = await asyncio.to_thread(_digest, target)
        if found != row.pack:
            raise exception.DataLossError(f"layer {layer_id} of a volume is kept as something else: {found}")
        request: messages.LayerRef = {"layer_id": layer_id}
        await asyncio.wait_for(worker.request("layers.unpack", request), _TAKE)
    finally:
        target.unlink(missing_ok=True)


async def look_after(core: Core, before: float) -> None:
    """Keep layers that were made before there was another place, and remove archives of layers that are gone."""
    if not core.blobs.is_elsewhere or not core.world.workers:
        return
    for left in (core.settings.home / "packs").glob("*"):  # of a server, or a worker, that was killed
        if left.stat().st_mtime < before:
            left.unlink(missing_ok=True)
    worker = next(iter(core.world.workers.values())).peer
    for layer_id in rows.unpacked(core.db):
        row = rows.layer(core.db, layer_id)
        kept = await keep(core, worker, row) if row is not None else None
        if kept is not None and kept.pack is not None:
            core.turn.begin()
            rows.set_pack(core.db, layer_id, kept.pack)
    async for one in core.objects.listed():
        if one.name.startswith(_FOLDER) and one.at < before:
            layer_id = one.name.removeprefix(_FOLDER).removesuffix(".tar")
            if layer_id not in core.on_way and rows.layer(core.db, layer_id) is None:
                await core.objects.remove(one.name)


def _file(core: Core, layer_id: str) -> Path:
    return core.settings.home / "packs" / f"{layer_id}.tar"


def _name(layer_id: str) -> str:
    return f"{_FOLDER}{layer_id}.tar"


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1024 * 1024):
            state.update(piece)
    return "sha256:" + state.hexdigest()
