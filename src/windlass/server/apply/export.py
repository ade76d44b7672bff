"""An image on its way to a user as an archive, pulled from the worker piece by piece as the user takes them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import images as image_actions
from windlass.server.apply import prune
from windlass.server.decide import images as image_decisions
from windlass.server.decide import sharing
from windlass.server.state import machines
from windlass.server.store import images
from windlass.wire import peer
from windlass.wire.messages import built, upkeep

Core = core_module.Core

_PIECE = 120.0  # seconds for a worker to produce the next piece, or word of how far it is
_WORD = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*\Z")  # a path component of a reference


async def send(core: Core, query: upkeep.ImageExport, incoming: peer.Incoming) -> None:
    """Answer ``image.export``."""
    request = plan(core, query)
    worker = next(w for w in core.world.workers.values() if request["image_id"] in w.images)
    over = False
    try:
        while not over:
            reply = await _piece(worker, request)
            over = reply.body.get("over", False)
            event: upkeep.ExportEvent = {"done": reply.body["done"], "of": reply.body["of"]}
            incoming.item(event, reply.attachments)
            await incoming.peer.drain()
            request = {"export_id": request["export_id"]}
        incoming.end()
    finally:
        if not over and worker.peer.connected:
            core.tasks.start(_stop(worker, request["export_id"]), "end of an export")


def plan(core: Core, query: upkeep.ImageExport) -> upkeep.ExportRead:
    """The first request to the worker. Raises ``NotFoundError``, also where no worker has the image now."""
    if query.get("format", "oci") != "oci":
        raise exception.InvalidError(f"unknown format {query.get('format')!r}", hint="There is one: oci.")
    wanted: built.ImageGet = {k: v for k, v in query.items() if k != "format"}  # type: ignore[assignment]
    row = image_actions.existing(core, image_actions.named(core, wanted))
    prune.need_worker(core)
    return {
        "export_id": ids.new("xp"),
        "image_id": row.id,
        "reference": reference(query, row.id),
        "steps": _steps(images.everything(core.db), row.id),
    }


def reference(query: upkeep.ImageExport, image_id: str) -> str:
    """What the image is called in the archive: by its name, where that is one that container tools allow."""
    name = query.get("name", "").lower()
    if _WORD.match(name):
        return f"localhost/{name}:{query.get('tag') or 'latest'}"
    return f"localhost/windlass:{image_id}"


def _steps(rows: dict[str, images.Row], image_id: str) -> list[upkeep.ExportStep]:
    chain = sharing.Sharing({
        row.id: sharing.Image(row.parent, tuple(row.meta["layers"]), row.meta["size"]) for row in rows.values()
    }).chain(image_id)  # fmt: skip
    steps: list[upkeep.ExportStep] = []
    below = 0
    for step in chain:
        row = rows[step]
        layers = len(row.meta["layers"])
        steps.append({
            "command": image_decisions.command(row.recipe), "created_at": row.built_at, "layers": layers - below
        })  # fmt: skip
        below = layers
    return steps


async def _piece(worker: machines.Worker, request: upkeep.ExportRead) -> peer.Reply:
    try:
        return await asyncio.wait_for(worker.peer.request("store.export", request), _PIECE)
    except asyncio.TimeoutError:
        raise exception.TimeoutError(f"the worker produced nothing for {_PIECE:g} s") from None


async def _stop(worker: machines.Worker, export_id: str) -> None:
    ref: Any = {"export_id": export_id}
    with contextlib.suppress(exception.Error, asyncio.TimeoutError):
        await asyncio.wait_for(worker.peer.request("store.export_stop", ref), _PIECE)
