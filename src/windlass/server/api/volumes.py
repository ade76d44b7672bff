"""``volume.*``."""

from __future__ import annotations

import asyncio
import os
import pwd
from typing import Any

from windlass import exception
from windlass.kit import tasks
from windlass.server.api import blobs, door
from windlass.server.api import workers as worker_doors
from windlass.server.apply import commits, disk, environments, packs, quotas
from windlass.server.apply import volumes as actions
from windlass.server.bus import link
from windlass.server.objects import copying
from windlass.server.store import volumes
from windlass.wire import payload, peer
from windlass.wire.messages import blobs as blob_messages
from windlass.wire.messages import volumes as messages

Core = door.Core

_TAKE = 3600.0
_TELL = 0.25  # seconds between words of how far a copy is
_GATHERED = 2000  # files that one may ask for at once
_ATTEMPTS = 20  # at an edit that others disturb


@door.handler("volume.get")
def get(core: Core, who: door.Who, body: messages.VolumeGet, incoming: peer.Incoming) -> Any:
    return actions.info(actions.get(core, body, by=author(core, who)))


def author(core: Core, who: door.Who) -> str:
    """Who is to be noted as the maker of something: of dicts and secrets clients say the same of themselves."""
    if who.container is not None:
        return who.container.id
    if who.principal is not None:
        return who.principal.name
    try:
        return pwd.getpwuid(os.geteuid()).pw_name  # whose socket it is
    except KeyError:
        return core.settings.workspace


@door.handler("volume.list")
def listed(core: Core, who: door.Who, body: messages.VolumeList, incoming: peer.Incoming) -> Any:
    found = volumes.named(core.db, environments.named(core, body.get("environment")))
    if "before" in body:
        found = [row for row in found if row.created_at < body["before"]]
    return {"volumes": [actions.info(row) for row in found[: body.get("most", len(found))]]}


@door.handler("volume.rename")
def rename(core: Core, who: door.Who, body: messages.VolumeRename, incoming: peer.Incoming) -> Any:
    actions.rename(core, actions.existing(core, body["volume_id"]), body["name"])
    return {}


@door.handler("volume.delete")
def delete(core: Core, who: door.Who, body: messages.VolumeRef, incoming: peer.Incoming) -> Any:
    actions.delete(core, actions.existing(core, body["volume_id"]))
    return {}


@door.handler("volume.quota")
def quota(core: Core, who: door.Who, body: messages.VolumeQuota, incoming: peer.Incoming) -> None:
    row = actions.existing(core, body["volume_id"])
    if "quota" in body:
        quotas.set_quota(core, row, None if body["quota"] == -1 else body["quota"])
    core.tasks.start(door.answered(incoming, _quota(core, row.id, incoming)), "volume.quota")


async def _quota(core: Core, volume_id: str, incoming: peer.Incoming) -> None:
    used = await quotas.used(core, volume_id)
    row = actions.existing(core, volume_id)
    incoming.reply({"quota": quotas.quota_of(core, row), "own": row.quota is not None, "used": used})


@door.handler("volume.room", "volume_id")
def room(core: Core, who: door.Who, body: messages.VolumeRoom, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, body["volume_id"])
    quotas.check_size(core, row, body.get("size", 0))
    return {"left": quotas.room(core, row)}


@door.handler("volume.beat")
def beat(core: Core, who: door.Who, body: messages.VolumeRef, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, body["volume_id"])
    core.turn.begin()
    volumes.beat(core.db, row.id, core.clock.now())
    return {}


# -- versions ----------------------------------------------------------------------------------------------


@door.handler("volume.history", "volume_id")
def history(core: Core, who: door.Who, body: messages.VolumeHistory, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, body["volume_id"])
    return {
        "versions": [
            {
                "version": one.n, "created_at": one.created_at, "by": one.author or one.made_by, "files": one.files,
                "size": one.size,
            }
            for one in volumes.history(core.db, row.id, body.get("most", -1))
        ]
    }


@door.handler("volume.restore")
def restore(core: Core, who: door.Who, body: messages.VolumeRestore, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, body["volume_id"])
    stack = actions.layers_of(core, row, body["version"])
    if not quotas.is_tight(core, row, stack):
        return {"version": actions.put_back(core, row, stack, by=author(core, who)).n}

    async def counted() -> None:
        await quotas.check(core, row.id, stack)
        version = actions.put_back(core, actions.existing(core, row.id), stack, by=author(core, who))
        core.turn.answer(incoming, {"version": version.n})

    core.tasks.start(door.answered(incoming, counted()), "volume.restore")
    return None


@door.handler("volume.fork", "volume_id", "name")
def fork(core: Core, who: door.Who, body: messages.VolumeFork, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, body["volume_id"])
    stack = actions.layers_of(core, row, body.get("version"))
    quotas.check_fork(core, row, stack)
    query: messages.VolumeGet = {"name": body["name"], "create": "new", "version": row.kind}
    if body.get("environment"):
        query["environment"] = body["environment"]
    made = actions.get(core, query, by=author(core, who))
    actions.put_back(core, made, stack, by=author(core, who))
    return actions.info(actions.existing(core, made.id))


# -- content -----------------------------------------------------------------------------------------------


@door.handler("volume.entries", "volume_id")
def entries(core: Core, who: door.Who, body: messages.VolumeRead, incoming: peer.Incoming) -> None:
    relay(core, "layers.list", _request(core, body), incoming)


@door.handler("volume.fetch", "volume_id")
def fetch(core: Core, who: door.Who, body: messages.VolumeRead, incoming: peer.Incoming) -> None:
    at = body.get("at", actions.existing(core, body["volume_id"]).head)
    relay(core, "layers.read", _request(core, {**body, "at": at}), incoming, at=at)


@door.handler("volume.gather", "volume_id")
def gather(core: Core, who: door.Who, body: messages.VolumeGather, incoming: peer.Incoming) -> None:
    row = actions.existing(core, body["volume_id"])
    at = body.get("at", row.head)
    request: messages.LayersGather = {"layers": actions.layers_of(core, row, at), "most": small(body, incoming)}
    relay(core, "layers.gather", request, incoming, at=at)


def small(body: messages.VolumeGather, incoming: peer.Incoming) -> int:
    """How many bytes each of some files may have that are asked for at once."""
    if len(incoming.attachments) > _GATHERED:
        raise exception.InvalidError(f"at most {_GATHERED:,} files can be asked for at once")
    return max(0, min(body.get("most", payload.CHUNK), payload.CHUNK))


def _request(core: Core, body: messages.VolumeRead) -> messages.LayersRead:
    row = actions.existing(core, body["volume_id"])
    return {
        "layers": actions.layers_of(core, row, body.get("at")),
        "recursive": body.get("recursive", False),
        "offset": max(0, body.get("offset", 0)),
        "size": body.get("size", -1),
    }


def relay(core: Core, method: str, request: Any, incoming: peer.Incoming, **more: Any) -> None:
    """Let a worker answer, with the path, or paths, that were attached. ``more``: what each of its items says, too."""
    if not incoming.attachments:
        raise exception.InvalidError("the path is missing")
    _pass_on(core, method, request, incoming, **more)


def _pass_on(core: Core, method: str, request: Any, incoming: peer.Incoming, **more: Any) -> None:
    task = core.tasks.start(_stream(core, method, request, incoming, more), method)
    incoming.on_cancel = task.cancel  # type: ignore[assignment]


async def _stream(core: Core, method: str, request: Any, incoming: peer.Incoming, more: dict[str, Any]) -> None:
    try:
        await packs.ensure(core, actions.worker(core).peer, request.get("layers", []))
        stream = actions.worker(core).peer.stream(method, request, incoming.attachments)
        try:
            async for item in stream:
                incoming.item({**item.body, **more}, item.attachments)
                await incoming.peer.drain()
        finally:
            await stream.aclose()
        incoming.end()
    except exception.Error as exc:
        incoming.fail(exc)


@door.handler("volume.check", "volume_id")
def check(core: Core, who: door.Who, body: messages.VolumeCheck, incoming: peer.Incoming) -> None:
    layers = actions.layers_of(core, actions.existing(core, body["volume_id"]), body.get("at"))
    _pass_on(core, "layers.check", {"layers": layers}, incoming)


@door.handler("volume.missing")
def missing(core: Core, who: door.Who, body: blob_messages.BlobQuery, incoming: peer.Incoming) -> Any:
    return {"missing": core.uploads.missing(body["digests"])}


@door.handler("volume.upload")
def upload(core: Core, who: door.Who, body: blob_messages.BlobPut, incoming: peer.Incoming) -> Any:
    chunk = blobs.piece(core, body, incoming)
    upload_id, offset, last, owner = body["upload_id"], body["offset"], body["last"], incoming.peer
    if not body["digest"]:
        return {"digest": core.uploads.stream(_own(who, upload_id), offset, chunk, last=last, owner=owner)}
    keeping = core.uploads.put(upload_id, body["digest"], offset, chunk, last=last, owner=owner)
    answer = {"digest": body["digest"]}
    return answer if keeping is None else blobs.kept(core, incoming, keeping, answer)


@door.handler("volume.resume")
def resume(core: Core, who: door.Who, body: messages.VolumeResume, incoming: peer.Incoming) -> None:
    disk.check(core)
    name = _own(who, body["upload_id"])

    async def resumed() -> None:
        incoming.reply({"offset": await core.uploads.resume(name, body["size"], incoming.peer)})

    core.tasks.start(door.answered(incoming, resumed()), "volume.resume")


def _own(who: door.Who, upload_id: str) -> str:
    """Of an upload: nobody goes on with somebody else's, whatever name he gives."""
    whose = who.principal.principal_id if who.principal is not None else ""
    return f"{whose} {who.container.id if who.container is not None else ''} {upload_id}"


@door.handler("volume.copy")
def copy(core: Core, who: door.Who, body: messages.VolumeCopy, incoming: peer.Incoming) -> None:
    disk.check(core)
    task = core.tasks.start(door.answered(incoming, _copied(core, body, incoming)), "volume.copy")
    incoming.on_cancel = task.cancel  # type: ignore[assignment]


async def _copied(core: Core, body: messages.VolumeCopy, incoming: peer.Incoming) -> None:
    process, how_far = incoming.peer.process, copying.Copying()  # type: ignore[attr-defined]
    if not process:
        raise exception.NotFoundError("files of another machine cannot be seen from here", hint="Upload them.")
    async with tasks.Tasks(lambda name, exc: None) as owner:
        copied = owner.start(asyncio.to_thread(core.uploads.copy, process, body, how_far), "copy of a file")
        try:
            while not copied.done():
                quotas.check_in_all(core, how_far.done)
                incoming.item({"done": how_far.done, "digest": ""})
                await asyncio.wait({copied}, timeout=_TELL)
            incoming.item({"done": how_far.done, "digest": copied.result()})
            incoming.end()
        finally:
            how_far.over.set()


@door.handler("volume.edit")
def edit(core: Core, who: door.Who, body: messages.VolumeEdit, incoming: peer.Incoming) -> None:
    if not incoming.attachments:
        raise exception.InvalidError("the steps of the edit are missing")
    row = actions.existing(core, body["volume_id"])
    done = volumes.made_by(core.db, row.id, body["edit_id"])
    if done is not None:  # asked again after its answer was lost
        incoming.reply({"version": done})
        return
    if body["edit_id"] in core.editing:
        raise exception.ServiceError("this edit is under way")
    core.editing.add(body["edit_id"])
    core.tasks.start(door.answered(incoming, _edited(core, author(core, who), body, incoming)), "volume.edit")


async def _edited(core: Core, by: str, body: messages.VolumeEdit, incoming: peer.Incoming) -> None:
    try:
        await _edit(core, by, body, incoming)
    finally:
        core.editing.discard(body["edit_id"])


async def _edit(core: Core, by: str, body: messages.VolumeEdit, incoming: peer.Incoming) -> None:
    for _ in range(_ATTEMPTS):
        row = actions.existing(core, body["volume_id"])
        request: messages.LayersEdit = {"layers": actions.layers_of(core, row)}
        await packs.ensure(core, actions.worker(core).peer, request["layers"])
        asked = actions.worker(core).peer.request("layers.edit", request, incoming.attachments[:1])
        reply = await asyncio.wait_for(asked, _TAKE)
        change = _change(body["edit_id"], row.head, reply.body, reply.attachments)._replace(author=by)
        try:
            version = await commits.publish(core, row.id, change)
        except actions.Clash:
            continue
        if core.turn.is_open:
            core.turn.answer(incoming, {"version": version.n})
        else:
            incoming.reply({"version": version.n})
        return
    raise exception.ConflictError("others change the volume all the time", hint="Try again.")


def _change(
    by: str, base: int, made: messages.LayerMade, attachments: list[bytes]
) -> actions.Change:
    puts, clears, seen = (*attachments, b"", b"", b"")[:3]
    return actions.Change(by, base, actions.layer_of(made), _paths(puts), _paths(clears), _paths(seen))


def _paths(data: bytes) -> frozenset[bytes]:
    return frozenset(data.split(b"\0")) if data else frozenset()


# -- containers and workers --------------------------------------------------------------------------------


@door.handler("volume.commit")
def commit(core: Core, who: door.Who, body: messages.VolumeCommit, incoming: peer.Incoming) -> None:
    container = who.container
    if container is None:
        raise exception.ExecutionError("commit() and reload() work in containers that mount the volume")
    mounts = [one for one in container.spec.get("volumes", []) if one["volume_id"] == body["volume_id"]]
    if not mounts:
        raise exception.ExecutionError(f"this container does not mount volume {body['volume_id']}")
    actions.existing(core, body["volume_id"])
    request: messages.MountTake = {
        "container_id": container.id, "volume_id": body["volume_id"], "reload": body["reload"],
    }  # fmt: skip
    node = core.world.workers.get(container.node)
    if node is None:
        raise exception.ServiceError("the worker of this container is not connected")
    core.tasks.start(door.answered(incoming, _taken(node.peer, request, incoming)), "volume.commit")


async def _taken(worker: peer.Peer, request: messages.MountTake, incoming: peer.Incoming) -> None:
    incoming.reply((await asyncio.wait_for(worker.request("volume.take", request), _TAKE)).body)


@door.handler("volume.head")
def head(core: Core, who: door.Who, body: messages.VolumeRef, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, body["volume_id"])
    shown: messages.VolumeHead = {"version": row.head, "layers": actions.layers_of(core, row)}
    if (left := quotas.room(core, row)) >= 0:
        shown["left"] = left
    return shown


@door.handler("volume.publish")
def publish(core: Core, who: door.Who, body: messages.VolumePublish, incoming: peer.Incoming) -> Any:
    worker_doors.worker_of(core, who, incoming)
    row = actions.existing(core, body["volume_id"])
    change = _change(body["container_id"], body["base"], body, incoming.attachments)
    if commits.is_simple(core, row, change.layer):
        try:
            return _published(core, row.id, change, actions.publish(core, row, change))
        except actions.Clash as clash:
            return _clashing(clash)
    core.tasks.start(door.answered(incoming, _publish(core, change, incoming)), "volume.publish")
    return None


async def _publish(core: Core, change: actions.Change, incoming: peer.Incoming) -> None:
    volume_id = incoming.body["volume_id"]
    try:
        version = await commits.publish(core, volume_id, change)
    except actions.Clash as clash:
        incoming.reply(_clashing(clash))
        return
    except (exception.ResourceExhaustedError, exception.InternalFailure) as exc:
        quotas.tell(core, change.made_by, volume_id, exc)
        raise
    published = _published(core, volume_id, change, version)
    if core.turn.is_open:
        core.turn.answer(incoming, published)
    else:
        incoming.reply(published)


def _published(
    core: Core, volume_id: str, change: actions.Change, version: volumes.Version
) -> messages.VolumePublished:
    core.refused.discard((change.made_by, volume_id))
    return {"version": version.n, "layers": version.layers, "clash": []}


def _clashing(clash: actions.Clash) -> messages.VolumePublished:
    return {"version": 0, "layers": [], "clash": [os.fsdecode(path) for path in clash.paths]}


def _lost(core: Core, who: door.Who, lost: link.Link) -> None:
    core.uploads.abandon(lost)


door.LOST.append(_lost)
