"""``image.prune``, ``image.fsck`` and ``image.export``: long work, each in a task that ends with its exchange."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import export as export_actions
from windlass.server.apply import fsck as fsck_actions
from windlass.server.apply import prune as prune_actions
from windlass.wire import peer
from windlass.wire.messages import upkeep as messages

Core = door.Core


@door.handler("image.prune")
def prune(core: Core, who: door.Who, body: messages.ImagePrune, incoming: peer.Incoming) -> None:
    if body.get("older_than", 0.0) < 0 or body.get("keep_size", 0) < 0:
        raise exception.InvalidError("older_than and keep_size must not be negative")
    # What has begun is finished, also when nobody waits for the answer any more.
    core.tasks.start(_answered(incoming, _pruned(core, body, incoming)), "image.prune")


@door.handler("image.fsck")
def fsck(core: Core, who: door.Who, body: messages.ImageFsck, incoming: peer.Incoming) -> None:
    check = _checked(core, incoming, repair=body.get("repair", False))
    task = core.tasks.start(_answered(incoming, check), "image.fsck")
    if not body.get("repair"):
        incoming.on_cancel = task.cancel  # type: ignore[assignment]


@door.handler("image.export")
def export(core: Core, who: door.Who, body: messages.ImageExport, incoming: peer.Incoming) -> None:
    task = core.tasks.start(_answered(incoming, export_actions.send(core, body, incoming)), "image.export")
    incoming.on_cancel = task.cancel  # type: ignore[assignment]


async def _pruned(core: Core, body: messages.ImagePrune, incoming: peer.Incoming) -> None:
    incoming.reply(await prune_actions.prune(core, body))


async def _checked(core: Core, incoming: peer.Incoming, *, repair: bool) -> None:
    await fsck_actions.check(core, repair=repair, tell=incoming.item)
    incoming.end()


async def _answered(incoming: peer.Incoming, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except exception.Error as exc:
        incoming.fail(exc)
    finally:  # nobody waits for ever for the answer of a defect; what was answered stays so
        incoming.fail(exception.InternalError("this ended without an answer; `windlass server logs` says more"))
