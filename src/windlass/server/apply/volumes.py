"""Volumes: found, made and deleted; commits, one after the other; what of them is merged and forgotten."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from typing import NamedTuple

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import environments, packs
from windlass.server.decide import volumes as decisions
from windlass.server.state import machines
from windlass.server.store import volumes
from windlass.wire.messages import volumes as messages

Core = core_module.Core

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_TALLEST = 150
"""Layers that a kernel can surely stack: a commit above waits until some were merged."""
_MERGE = 600.0
_LOOK = 60.0
_log = logging.getLogger(__name__)


class Change(NamedTuple):
    """A layer that shall become the newest commit. ``base``: the version that its author saw. ``seen``: see
    ``decide.volumes.clash``. ``author``: who asked for it, where ``made_by`` does not say so."""

    made_by: str
    base: int
    layer: volumes.Layer
    puts: frozenset[bytes]
    clears: frozenset[bytes]
    seen: frozenset[bytes] = frozenset()
    author: str = ""


class Clash(Exception):
    """The layer must leave ``paths`` alone."""

    def __init__(self, paths: list[bytes]) -> None:
        super().__init__("the layer hides what others committed meanwhile")
        self.paths = paths


# -- which volume ------------------------------------------------------------------------------------------


def existing(core: Core, volume_id: str) -> volumes.Row:
    row = volumes.by_id(core.db, volume_id)
    if row is None:
        raise exception.NotFoundError(
            f"volume {volume_id} does not exist (any more)",
            hint="A volume made anew under the same name is another one: deploy or run again.",
        )
    return row


def get(core: Core, query: messages.VolumeGet, *, by: str) -> volumes.Row:
    """The volume that is meant, made if that was asked for."""
    if "volume_id" in query:
        return existing(core, query["volume_id"])
    environment = environments.named(core, query.get("environment"))
    kind = query.get("version", 0)
    if kind not in (0, 1, 2):
        raise exception.InvalidError(f"a volume's version is 1 or 2, not {kind}")
    if query.get("ephemeral"):
        return _make(core, environment, None, kind, by)
    name = check_name(query.get("name", ""))
    row, create = volumes.by_name(core.db, environment, name), query.get("create", "")
    if row is None:
        if not create:
            raise exception.NotFoundError(
                f"no volume {name!r} in environment {environment!r}",
                hint=f"Create it: `windlass volume create {name}{core_module.where(core, environment)}`, or pass "
                "create_if_missing=True.",
            )
        return _make(core, environment, name, kind, by)
    if create == "new":
        raise exception.AlreadyExistsError(f"there is a volume {name!r} already in environment {environment!r}")
    if kind and kind != row.kind:
        raise exception.InvalidError(f"volume {name!r} is of version {row.kind}, not {kind}")
    return row


def check_name(name: str, *, what: str = "a volume", prefix: str = "vo") -> str:
    if not _NAME.match(name) or ids.is_id(name, prefix):
        raise exception.InvalidError(
            f"{name[:80]!r} is no name for {what}", hint="Use 1 to 64 letters, digits, dashes, underscores and dots."
        )
    return name


def _make(core: Core, environment: str, name: str | None, kind: int, by: str) -> volumes.Row:
    now = core.clock.now()
    row = volumes.Row(ids.new("vo"), environment, name, kind or 1, 0, now, by, now)
    core.turn.begin()
    volumes.insert(core.db, row)
    return row


def rename(core: Core, row: volumes.Row, name: str) -> None:
    check_name(name)
    if row.name is None:
        raise exception.InvalidError("an ephemeral volume has no name")
    other = volumes.by_name(core.db, row.environment, name)
    if other is not None and other.id != row.id:
        raise exception.AlreadyExistsError(f"there is a volume {name!r} already")
    core.turn.begin()
    volumes.rename(core.db, row.id, name)


def delete(core: Core, row: volumes.Row) -> None:
    """Its layers go when nothing shows them any more."""
    core.turn.begin()
    volumes.delete(core.db, row.id)
    core.measured.pop(row.id, None)


def info(row: volumes.Row) -> messages.VolumeInfo:
    return {
        "volume_id": row.id,
        "name": row.name or "",
        "environment": row.environment,
        "version": row.kind,
        "created_at": row.created_at,
        "created_by": row.created_by,
        "head": row.head,
    }


# -- versions ----------------------------------------------------------------------------------------------


def layers_of(core: Core, row: volumes.Row, n: int | None = None) -> list[str]:
    """The layers of a version, bottom first; of the newest one by default."""
    number = row.head if n is None else n
    if number == 0:
        return []
    version = volumes.version(core.db, row.id, number)
    if version is None:
        raise exception.NotFoundError(
            f"volume {row.name or row.id} has no version {number} (any more)",
            hint="`windlass volume history` shows what there is.",
        )
    return version.layers


def publish(core: Core, row: volumes.Row, change: Change) -> volumes.Version:
    """Make a layer the newest commit. Asked again for the same layer, it answers the same.

    Raises:
        Clash: others committed something meanwhile that the layer hides without having seen it.
        ConflictError: too many layers wait to be merged.
    """
    known = volumes.with_layer(core.db, row.id, change.layer.id)
    if known is not None and (version := volumes.version(core.db, row.id, known)) is not None:
        return version
    since = [
        decisions.Commit(one.made_by, one.puts, one.clears) for one in volumes.since(core.db, row.id, change.base)
    ] if change.clears and change.base < row.head else []  # fmt: skip
    if paths := decisions.clash(change.clears, since, made_by=change.made_by, seen=change.seen):
        raise Clash(paths)
    stack = layers_of(core, row)
    if len(stack) >= _TALLEST:
        raise exception.ServiceError("the layers of this volume are just being merged")
    core.turn.begin()
    volumes.add_layer(core.db, change.layer)
    version = volumes.Version(
        row.head + 1, change.made_by, change.layer.id, [*stack, change.layer.id], change.puts, change.clears,
        change.layer.files, change.layer.size, core.clock.now(), change.author,
    )  # fmt: skip
    volumes.add(core.db, row.id, version)
    volumes.forget_versions(core.db, row.id, version.n - core.settings.volume_versions + 1)
    _merge_soon(core, row.id, version)
    return version


def put_back(core: Core, row: volumes.Row, stack: list[str], *, by: str) -> volumes.Version:
    """A version of its own that shows what another one showed."""
    core.turn.begin()
    version = volumes.Version(
        row.head + 1, by, "", stack, frozenset(), frozenset(), 0, 0, core.clock.now()
    )  # fmt: skip
    volumes.add(core.db, row.id, version)
    volumes.forget_versions(core.db, row.id, version.n - core.settings.volume_versions + 1)
    return version


def mounts(core: Core, wanted: list[messages.VolumeMount]) -> list[messages.MountPlan]:
    """What a container that starts now shall see."""
    plans: list[messages.MountPlan] = []
    for one in wanted:
        row = existing(core, one["volume_id"])
        plans.append({**one, "base": row.head, "layers": layers_of(core, row)})
    return plans


def check_mounts(core: Core, wanted: list[messages.VolumeMount]) -> None:
    """Refuse what no container could have."""
    seen: dict[str, str] = {}
    for one in wanted:
        existing(core, one["volume_id"])
        path = one["path"]
        check_place(path, "a volume")
        if ".." in one["sub_path"].split("/") or "\0" in one["sub_path"]:
            raise exception.InvalidError(f"sub_path {one['sub_path']!r} is not allowed")
        if one["volume_id"] in seen:
            raise exception.InvalidError(
                f"volume {one['volume_id']} is mounted twice, at {seen[one['volume_id']]} and at {path}"
            )
        seen[one["volume_id"]] = path


def check_place(path: str, what: str) -> None:
    if not messages.is_place(path):
        raise exception.InvalidError(f"{what} cannot be mounted at {path!r}")


# -- workers -----------------------------------------------------------------------------------------------


def worker(core: Core) -> machines.Worker:
    """The one that has the layers."""
    for one in core.world.workers.values():
        return one
    raise exception.ServiceError("no worker is connected, and volumes lie with workers")


def _merge_soon(core: Core, volume_id: str, version: volumes.Version) -> None:
    if volume_id in core.merging or decisions.run(_files(core, version.layers)) is None:
        return
    core.merging.add(volume_id)
    core.turn.after.append(functools.partial(_start_merge, core, volume_id))


def _start_merge(core: Core, volume_id: str) -> None:
    core.tasks.start(_merge(core, volume_id), f"merge layers of {volume_id}")


def _files(core: Core, stack: list[str]) -> list[int]:
    rows = [volumes.layer(core.db, layer) for layer in stack]
    return [row.files if row is not None else 0 for row in rows]


async def _merge(core: Core, volume_id: str) -> None:
    """Until the stack is low again."""
    try:
        while (row := volumes.by_id(core.db, volume_id)) is not None:
            stack = layers_of(core, row)
            span = decisions.run(_files(core, stack))
            if span is None:
                return
            await _merge_run(core, volume_id, stack[span[0] : span[1]], bottom=span[0] == 0)
    except exception.Error as exc:
        _log.warning("layers of volume %s were not merged: %s", volume_id, exc)
    finally:
        core.merging.discard(volume_id)


async def _merge_run(core: Core, volume_id: str, old: list[str], *, bottom: bool) -> None:
    request: messages.LayersMerge = {"layers": old, "bottom": bottom}
    here = worker(core).peer
    await packs.ensure(core, here, old)
    made: messages.LayerMade = (await asyncio.wait_for(here.request("layers.merge", request), _MERGE)).body
    with packs.on_way(core, made["layer_id"]):
        layer = await packs.keep(core, here, layer_of(made))
    row = volumes.by_id(core.db, volume_id)
    stack = decisions.replaced(layers_of(core, row), old, made["layer_id"]) if row is not None else None
    if row is None or stack is None:
        return
    core.turn.begin()
    volumes.add_layer(core.db, layer)
    volumes.set_layers(core.db, volume_id, row.head, stack)


def layer_of(made: messages.LayerMade) -> volumes.Layer:
    return volumes.Layer(made["layer_id"], made["digest"], made["files"], made["size"])


async def collect(core: Core) -> None:
    """Forget ephemeral volumes that nobody keeps, and layers that nothing names."""
    now = core.clock.now()
    for row in volumes.silent(core.db, now - core.settings.keep_ephemeral_volumes):
        delete(core, row)
    for row_id, _, stack in volumes.heads(core.db):
        if row_id not in core.merging and decisions.run(_files(core, stack)) is not None:
            core.merging.add(row_id)
            _start_merge(core, row_id)
    core.turn.begin()
    volumes.forget_unnamed_layers(core.db)
    await sweep(core, core.settings.keep_unnamed_layers)


async def sweep(core: Core, young: float, *, dry_run: bool = False) -> messages.LayersRemoved:
    """Let workers remove layers that nothing names or uses, older than ``young`` seconds; none while a backup is
    made."""
    with core.gate.passing() as may:
        if not may and not dry_run:
            return {"removed": 0, "size": 0}
        return await _sweep(core, young, dry_run=dry_run)


async def _sweep(core: Core, young: float, *, dry_run: bool) -> messages.LayersRemoved:
    total: messages.LayersRemoved = {"removed": 0, "size": 0}
    for one in list(core.world.workers.values()):
        request: messages.LayersKeep = {
            "layers": [*volumes.named_layers(core.db), *core.on_way], "young": young, "dry_run": dry_run,
        }  # fmt: skip
        answer: messages.LayersRemoved = (await asyncio.wait_for(one.peer.request("layers.keep", request), _LOOK)).body
        total["removed"] += answer["removed"]
        total["size"] += answer["size"]
    return total
