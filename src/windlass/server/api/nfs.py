"""``nfs.*``."""

from __future__ import annotations

import asyncio
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.api import volumes as volume_doors
from windlass.server.apply import environments
from windlass.server.apply import nfs as actions
from windlass.server.apply import volumes as volume_actions
from windlass.server.store import nfs
from windlass.wire import peer
from windlass.wire.messages import nfs as messages
from windlass.wire.messages import volumes as volume_messages

Core = door.Core

_EDIT = 3600.0


@door.handler("nfs.get")
def get(core: Core, who: door.Who, body: messages.NfsGet, incoming: peer.Incoming) -> Any:
    return actions.info(actions.get(core, body, by=volume_doors.author(core, who)))


@door.handler("nfs.list")
def listed(core: Core, who: door.Who, body: messages.NfsList, incoming: peer.Incoming) -> Any:
    found = nfs.named(core.db, environments.named(core, body.get("environment")))
    return {"file_systems": [actions.info(row) for row in found]}


@door.handler("nfs.delete")
def delete(core: Core, who: door.Who, body: volume_messages.VolumeRef, incoming: peer.Incoming) -> Any:
    actions.delete(core, actions.existing(core, body["volume_id"]))
    return {}


@door.handler("nfs.beat")
def beat(core: Core, who: door.Who, body: volume_messages.VolumeRef, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, body["volume_id"])
    core.turn.begin()
    nfs.beat(core.db, row.id, core.clock.now())
    return {}


@door.handler("nfs.entries", "volume_id")
def entries(core: Core, who: door.Who, body: volume_messages.VolumeRead, incoming: peer.Incoming) -> None:
    _relay(core, "folders.list", body, incoming)


@door.handler("nfs.fetch", "volume_id")
def fetch(core: Core, who: door.Who, body: volume_messages.VolumeRead, incoming: peer.Incoming) -> None:
    _relay(core, "folders.read", body, incoming)


@door.handler("nfs.gather", "volume_id")
def gather(core: Core, who: door.Who, body: volume_messages.VolumeGather, incoming: peer.Incoming) -> None:
    nfs_id = actions.existing(core, body["volume_id"]).id
    request: messages.FoldersGather = {"nfs_id": nfs_id, "most": volume_doors.small(body, incoming)}
    volume_doors.relay(core, "folders.gather", request, incoming)


def _relay(core: Core, method: str, body: volume_messages.VolumeRead, incoming: peer.Incoming) -> None:
    request: messages.FoldersRead = {
        "nfs_id": actions.existing(core, body["volume_id"]).id,
        "recursive": body.get("recursive", False),
        "offset": max(0, body.get("offset", 0)),
        "size": body.get("size", -1),
    }
    volume_doors.relay(core, method, request, incoming)


@door.handler("nfs.edit")
def edit(core: Core, who: door.Who, body: volume_messages.VolumeEdit, incoming: peer.Incoming) -> None:
    if not incoming.attachments:
        raise exception.InvalidError("the steps of the edit are missing")
    row = actions.existing(core, body["volume_id"])
    core.tasks.start(door.answered(incoming, _edit(core, row.id, incoming)), "nfs.edit")


async def _edit(core: Core, nfs_id: str, incoming: peer.Incoming) -> None:
    request: messages.FoldersEdit = {"nfs_id": nfs_id}
    asked = volume_actions.worker(core).peer.request("folders.edit", request, incoming.attachments[:1])
    incoming.reply((await asyncio.wait_for(asked, _EDIT)).body)
