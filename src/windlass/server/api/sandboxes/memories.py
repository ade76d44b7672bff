"""``sandbox.memory``, ``sandbox.restore``: memory and files of a sandbox at one moment, and another one from there."""

from __future__ import annotations

import asyncio
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import apps as app_api
from windlass.server.api import door
from windlass.server.api.sandboxes import copies, life, waiting
from windlass.server.apply import sandboxes as actions
from windlass.server.decide import sandboxes as decisions
from windlass.server.store import images as image_rows
from windlass.server.store import sandboxes
from windlass.wire import peer
from windlass.wire.messages import sandboxes as messages

Core = door.Core
_LONGEST = 600.0


@door.handler("sandbox.memory")
def keep(core: Core, who: door.Who, body: messages.MemoryKeep, incoming: peer.Incoming) -> None:
    if not ids.is_id(body["snapshot_id"], "sn"):
        raise exception.InvalidError(f"not a snapshot id: {body['snapshot_id'][:60]!r}")
    waiting.begun(core, body["sandbox_id"], _keep(core, body), incoming)


async def _keep(core: Core, body: messages.MemoryKeep) -> messages.MemoryInfo:
    """Repeating is harmless. The sandbox ends with it, whatever becomes of the rows."""
    if (known := sandboxes.memory_by_id(core.db, body["snapshot_id"])) is not None:
        return _info(known)
    one = core.world.sandboxes.get(body["sandbox_id"])
    if one is not None:
        decisions.check_memory(one.spec, one.execs)
    where, container_id = await waiting.place_of(core, one, body["sandbox_id"], ended=False)
    assert one is not None
    image_id, parent, now = ids.new("im"), one.spec["image_id"], core.clock.now()
    plan: messages.SnapshotPlan = {
        "sandbox_id": container_id, "path": "", "image_id": image_id, "parent": parent,
        "mounts": one.spec["mounts"], "memory": True,
    }  # fmt: skip
    taken = where.peer.request("sandbox.snapshot", plan)
    reply = await asyncio.wait_for(taken, min(body.get("seconds", _LONGEST), _LONGEST))
    expires_at = one.spec.get("memory_expires", now + decisions.MEMORY_KEPT)
    spec: messages.SandboxSpec = {
        **one.spec, "image_id": image_id, "mounts": [], "restore": True, "memory_expires": expires_at
    }  # fmt: skip
    row = sandboxes.Memory(body["snapshot_id"], image_id, one.app.id, one.name, dict(one.tags), spec, now, expires_at)
    core.turn.begin()
    recipe = copies.snapshot_recipe(core, one, "memory")
    image_rows.insert(
        core.db, image_id=image_id, key=f"snapshot {image_id}", parent=parent, recipe=recipe,
        meta=reply.body["meta"], now=now, current=False,
    )  # fmt: skip
    sandboxes.add_snapshot(core.db, image_id, expires_at)
    sandboxes.add_memory(core.db, one.app.n, row)
    where.images.add(image_id)
    actions.terminate(core, one, message="its memory was kept as a snapshot")
    await waiting.committed(core)
    return _info(row)


@door.handler("sandbox.memory_get")
def get(core: Core, who: door.Who, body: messages.MemoryRef, incoming: peer.Incoming) -> Any:
    return _info(_row(core, body["snapshot_id"]))


def _row(core: Core, identity: str) -> sandboxes.Memory:
    row = sandboxes.memory_by_id(core.db, identity)
    if row is None or row.expires_at < core.clock.now():
        raise exception.NotFoundError(
            f"no snapshot {identity[:60]!r} of a sandbox's memory", hint="They are kept for seven days."
        )
    return row


@door.handler("sandbox.restore")
def restore(core: Core, who: door.Who, body: messages.MemoryRestore, incoming: peer.Incoming) -> Any:
    identity = body["sandbox_id"]
    if not ids.is_id(identity, "sb"):
        raise exception.InvalidError(f"not a sandbox id: {identity[:60]!r}")
    if identity in core.world.sandboxes or sandboxes.by_id(core.db, identity) is not None:
        return waiting.info(core, identity)
    row = _row(core, body["snapshot_id"])
    app = app_api.living(core, row.app_id)
    asked: messages.SandboxCreate = {
        "app_id": row.app_id, "sandbox_id": identity, "spec": row.spec, "tags": row.tags,
        "name": body.get("name", row.name),
    }  # fmt: skip
    life.check(core, asked)
    return actions.info(core, actions.create(core, app, asked))


def _info(row: sandboxes.Memory) -> messages.MemoryInfo:
    return {"snapshot_id": row.id, "app_id": row.app_id, "created_at": row.created_at, "expires_at": row.expires_at}
