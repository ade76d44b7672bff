"""What is stored, and where: bytes on the disk, as the worker and the server find them, beside quotas and free space.

Volumes, images and network file systems are counted by the worker, because their files are its own; a file that
several layers have counts once. Each kind says by which command it can be made smaller.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from pathlib import Path

from windlass.server.apply import core as core_module
from windlass.server.apply import prune, quotas, sweep, volumes
from windlass.server.decide import storage as storage_decisions
from windlass.server.store import nfs, storage
from windlass.server.store import volumes as rows
from windlass.wire.messages import storage as messages

Core = core_module.Core
_LOOK = 600.0
_COMMANDS = {
    "images": "windlass image prune",
    "volumes": "windlass volume rm | delete",
    "layers of no volume": "windlass storage gc --older-than 1m",
    "network file systems": "windlass nfs rm | delete",
    "blobs": "windlass app stop; windlass storage gc",
    "uploads": "windlass storage gc",
    "dicts": "windlass dict delete",
    "queues": "windlass queue clear | delete",
    "database": "",
    "logs": "",
}


async def usage(core: Core) -> messages.StorageUsage:
    """Everything, looked at now. Raises ``ExecutionError`` where no worker is connected."""
    prune.need_worker(core)
    measured = await _measured(core)
    garbage = await sweep.gc(core, {"dry_run": True})
    sizes = {one["what"]: one["size"] for one in garbage["garbage"]}
    left = await volumes.sweep(core, storage_decisions.SHORTEST, dry_run=True)
    shown = await _volumes(core, measured)
    dicts, queues = _collections(core, "dict"), _collections(core, "queue")
    images = await prune.prune(core, {"dry_run": True})
    counted = {
        "images": (images["stored"], images["size"]),
        "volumes": (measured["layers"], 0),
        "layers of no volume": (left["size"], left["size"]),
        "network file systems": (sum(measured["nfs"].values()), 0),
        "blobs": (core.blobs.total(), sizes["blobs"]),
        "uploads": (await asyncio.to_thread(_folder, core.settings.home / "uploads"), sizes["uploads"]),
        "dicts": (sum(one["size"] for one in dicts), 0),
        "queues": (sum(one["size"] for one in queues), 0),
        "database": (await asyncio.to_thread(_folder, core.settings.home / "db"), 0),
        "logs": (await asyncio.to_thread(_folder, core.settings.home / "log"), 0),
    }
    disk = os.statvfs(core.settings.home)
    return {
        "objects": core.settings.objects,
        "kinds": [
            {"what": what, "size": size, "freeable": freeable, "command": _COMMANDS[what]}
            for what, (size, freeable) in counted.items()
        ],
        "volumes": shown,
        "nfs": [_nfs(row, measured["nfs"]) for row in nfs.everything(core.db)],
        "dicts": dicts,
        "queues": queues,
        "stored_logs": storage.logs(core.db),
        "counted": quotas.total(core),
        "quota": core.settings.storage_quota,
        "free": disk.f_bavail * disk.f_frsize,
        "disk": disk.f_blocks * disk.f_frsize,
    }  # fmt: skip


async def _measured(core: Core) -> messages.StorageMeasured:
    stacks: defaultdict[str, set[str]] = defaultdict(set)
    for volume_id, _, layers in rows.stacks(core.db):
        stacks[volume_id].update(layers)
    request: messages.StorageMeasure = {"volumes": {one: sorted(layers) for one, layers in stacks.items()}}
    answer = volumes.worker(core).peer.request("storage.measure", request)
    measured: messages.StorageMeasured = (await asyncio.wait_for(answer, _LOOK)).body
    return measured


async def _volumes(core: Core, measured: messages.StorageMeasured) -> list[messages.VolumeUsage]:
    numbers: defaultdict[str, int] = defaultdict(int)
    for volume_id, _, _ in rows.stacks(core.db):
        numbers[volume_id] += 1
    shown: list[messages.VolumeUsage] = []
    for row in rows.everything(core.db):
        found = measured["volumes"].get(row.id, {"size": 0, "shared": 0})
        newest = await quotas.used(core, row.id)
        shown.append({
            "volume_id": row.id, "name": row.name or "", "environment": row.environment, "newest": newest,
            "size": found["size"], "shared": found["shared"], "versions": numbers[row.id],
            "quota": quotas.quota_of(core, row),
        })  # fmt: skip
    return shown


def _nfs(row: nfs.Row, sizes: dict[str, int]) -> messages.Held:
    return {
        "id": row.id, "name": row.name or "", "environment": row.environment, "held": 0, "size": sizes.get(row.id, 0),
    }  # fmt: skip


def _collections(core: Core, kind: str) -> list[messages.Held]:
    found = storage.dicts(core.db) if kind == "dict" else storage.queues(core.db)
    return [
        {"id": one.id, "name": one.name or "", "environment": one.environment, "held": one.held, "size": one.size}
        for one in found
    ]


def _folder(path: Path) -> int:
    """Bytes of files below a folder of the server's own."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
