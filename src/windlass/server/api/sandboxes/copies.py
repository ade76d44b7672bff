"""``sandbox.snapshot``, ``sandbox.fork``, ``sandbox.reload``: files as images, others from them, volumes anew."""

from __future__ import annotations

import asyncio
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import door
from windlass.server.api.sandboxes import waiting
from windlass.server.apply import identity as identity_actions
from windlass.server.apply import sandboxes as actions
from windlass.server.decide import sandboxes as decisions
from windlass.server.state import sandboxes as state
from windlass.server.store import images as image_rows
from windlass.server.store import sandboxes
from windlass.wire import peer
from windlass.wire.messages import common
from windlass.wire.messages import sandboxes as messages

Core = door.Core
_MOST_FORKS = 100


@door.handler("sandbox.snapshot", "sandbox_id")
def snapshot(core: Core, who: door.Who, body: messages.SnapshotRequest, incoming: peer.Incoming) -> None:
    waiting.begun(core, body["sandbox_id"], _snapshot(core, body, incoming), incoming)


async def _snapshot(core: Core, body: messages.SnapshotRequest, incoming: peer.Incoming) -> messages.SnapshotReply:
    one = core.world.sandboxes.get(body["sandbox_id"])
    where, container_id = await waiting.place_of(core, one, body["sandbox_id"], ended=False)
    assert one is not None
    path, image_id, parent = body.get("path", ""), ids.new("im"), one.spec["image_id"]
    plan: messages.SnapshotPlan = {
        "sandbox_id": container_id, "path": path, "image_id": image_id, "parent": parent,
        "mounts": [] if path else one.spec["mounts"],
    }  # fmt: skip
    taken = where.peer.request("sandbox.snapshot", plan)
    reply = await asyncio.wait_for(taken, body.get("seconds", waiting.LONGEST))
    meta = reply.body["meta"]
    recipe = snapshot_recipe(core, one, *([path] if path else []))
    now, ttl = core.clock.now(), body.get("ttl")
    core.turn.begin()
    image_rows.insert(
        core.db, image_id=image_id, key=f"snapshot {image_id}", parent=None if path else parent, recipe=recipe,
        meta=meta, now=now, current=False,
    )  # fmt: skip
    sandboxes.add_snapshot(core.db, image_id, None if ttl is None else now + ttl)
    where.images.add(image_id)
    await waiting.committed(core)
    return {"image_id": image_id, "python": meta["python"], "mounts": []}


def snapshot_recipe(core: Core, one: state.Sandbox, *what: str) -> Any:
    """What is written down of a snapshot: of which sandbox, and whose it is also when that is forgotten."""
    place = identity_actions.parts(core).get(one.app.environment)
    return {"op": "snapshot", "commands": [one.id, *what], **({"environment": place.id} if place is not None else {})}


@door.handler("sandbox.fork", "sandbox_id")
def fork(core: Core, who: door.Who, body: messages.SandboxFork, incoming: peer.Incoming) -> None:
    if not 0 < len(body["fork_ids"]) <= _MOST_FORKS or not all(ids.is_id(one, "sb") for one in body["fork_ids"]):
        raise exception.InvalidError(f"a sandbox is forked into 1 to {_MOST_FORKS} new ones at once")
    waiting.begun(core, body["sandbox_id"], _fork(core, body, incoming), incoming)


async def _fork(core: Core, body: messages.SandboxFork, incoming: peer.Incoming) -> Any:
    """One layer of what was changed, and the new ones on it. Repeating is harmless."""
    wanted = body["fork_ids"]
    if any(sandboxes.by_id(core.db, one) is None for one in wanted):
        made = await _snapshot(core, {**_snapshot_of(body), "ttl": decisions.MOST_TIME}, incoming)
        one = core.world.sandboxes.get(body["sandbox_id"])
        if one is None:
            raise exception.ConflictError(f"sandbox {body['sandbox_id']} has finished")
        spec: messages.SandboxSpec = {**one.spec, "image_id": made["image_id"], "mounts": []}
        fresh = [identity for identity in wanted if sandboxes.by_id(core.db, identity) is None]
        actions.check_room(core, one.app, len(fresh))  # all of them or none
        core.turn.begin()
        for identity in fresh:
            asked: messages.SandboxCreate = {
                "app_id": one.app.id, "sandbox_id": identity, "spec": spec, "tags": dict(one.tags)
            }  # fmt: skip
            actions.create(core, one.app, asked)
        await waiting.committed(core)
    return {"sandboxes": [waiting.info(core, identity) for identity in wanted]}


def _snapshot_of(body: messages.SandboxFork) -> messages.SnapshotRequest:
    return {"sandbox_id": body["sandbox_id"], "seconds": body.get("seconds", waiting.LONGEST)}


@door.handler("sandbox.reload", "sandbox_id")
def reload(core: Core, who: door.Who, body: messages.SandboxReload, incoming: peer.Incoming) -> None:
    waiting.begun(core, body["sandbox_id"], _reload(core, body, incoming), incoming)


async def _reload(core: Core, body: messages.SandboxReload, incoming: peer.Incoming) -> common.Empty:
    one = core.world.sandboxes.get(body["sandbox_id"])
    where, container_id = await waiting.place_of(core, one, body["sandbox_id"], ended=False)
    assert one is not None
    if level := one.spec.get("runtime", ""):
        raise exception.UnimplementedError(f"the volumes of a sandbox with runtime={level!r} cannot be reloaded")

    async def all_of_them() -> None:
        for mount in one.spec.get("volumes", []):
            take = {"container_id": container_id, "volume_id": mount["volume_id"], "reload": True}
            await where.peer.request("volume.take", take)

    await asyncio.wait_for(all_of_them(), body.get("seconds", waiting.LONGEST))
    return {}
