"""Network file systems: found, made and deleted. Their files are the worker's; here is only what there shall be."""

from __future__ import annotations

import asyncio
import logging

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import environments, volumes
from windlass.server.decide import mounts as decisions
from windlass.server.store import nfs
from windlass.wire.messages import nfs as messages
from windlass.wire.messages import volumes as volume_messages

Core = core_module.Core

_ASKED = 60.0
_log = logging.getLogger(__name__)


def existing(core: Core, nfs_id: str) -> nfs.Row:
    row = nfs.by_id(core.db, nfs_id)
    if row is None:
        raise exception.NotFoundError(
            f"network file system {nfs_id} does not exist (any more)",
            hint="One made anew under the same name is another one: deploy or run again.",
        )
    return row


def get(core: Core, query: messages.NfsGet, *, by: str) -> nfs.Row:
    """The one that is meant, made if that was asked for."""
    if "volume_id" in query:
        return existing(core, query["volume_id"])
    environment = environments.named(core, query.get("environment"))
    if query.get("ephemeral"):
        return _make(core, environment, None, by)
    name = volumes.check_name(query.get("name", ""), what="a network file system", prefix="sv")
    row, create = nfs.by_name(core.db, environment, name), query.get("create", "")
    if row is None:
        if not create:
            raise exception.NotFoundError(
                f"no network file system {name!r} in environment {environment!r}",
                hint=f"Create it: `windlass nfs create {name}{core_module.where(core, environment)}`, or pass "
                "create_if_missing=True.",
            )
        return _make(core, environment, name, by)
    if create == "new":
        raise exception.AlreadyExistsError(
            f"there is a network file system {name!r} already in environment {environment!r}"
        )
    return row


def _make(core: Core, environment: str, name: str | None, by: str) -> nfs.Row:
    now = core.clock.now()
    row = nfs.Row(ids.new("sv"), environment, name, now, by, now)
    core.turn.begin()
    nfs.insert(core.db, row)
    return row


def delete(core: Core, row: nfs.Row) -> None:
    """Its files go at once, also where containers have them mounted."""
    core.turn.begin()
    nfs.delete(core.db, row.id)
    core.turn.after.append(lambda: _sweep_soon(core))


def info(row: nfs.Row) -> messages.NfsInfo:
    return {
        "volume_id": row.id, "name": row.name or "", "environment": row.environment, "created_at": row.created_at,
        "created_by": row.created_by,
    }  # fmt: skip


def mounts(core: Core, wanted: list[messages.NfsMount]) -> list[messages.NfsMount]:
    """For a container that starts now. Raises ``NotFoundError``."""
    for one in wanted:
        existing(core, one["nfs_id"])
    return wanted


def check_mounts(
    core: Core, wanted: list[messages.NfsMount], beside: list[volume_messages.VolumeMount]
) -> None:
    """Refuse what no container could have. ``beside``: its volumes."""
    for one in wanted:
        existing(core, one["nfs_id"])
        volumes.check_place(one["path"], "a network file system")
    decisions.check_apart(
        [(one["nfs_id"], one["path"]) for one in wanted], [one["path"] for one in beside]
    )


# -- what workers have -------------------------------------------------------------------------------------


def _sweep_soon(core: Core) -> None:
    core.tasks.start(_swept(core), "removal of network file systems")


async def _swept(core: Core) -> None:
    try:
        await sweep(core)
    except (exception.Error, asyncio.TimeoutError) as exc:
        _log.warning("deleted network file systems still have their files: %s", exc)


async def collect(core: Core) -> None:
    """Forget ephemeral ones that nobody keeps, and remove the files of all that are gone."""
    for row in nfs.silent(core.db, core.clock.now() - core.settings.keep_ephemeral_volumes):
        core.turn.begin()
        nfs.delete(core.db, row.id)
    await _swept(core)


async def sweep(core: Core) -> None:
    """Let workers remove the folders of those that are gone. A row comes before its folder, and no id comes twice."""
    with core.gate.passing() as may:
        if may:
            await _sweep(core)


async def _sweep(core: Core) -> None:
    for worker in list(core.world.workers.values()):
        asked = worker.peer.request("folders.known", {})
        known: messages.FoldersKnown = (await asyncio.wait_for(asked, _ASKED)).body
        gone = [one for one in known["nfs_ids"] if nfs.by_id(core.db, one) is None]
        if gone:
            await asyncio.wait_for(worker.peer.request("folders.remove", {"nfs_ids": gone}), _ASKED)
