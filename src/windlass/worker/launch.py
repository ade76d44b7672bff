"""A container that the runtime starts: one exit stack from the folder to the process, given back in reverse.

    folder → root file system → network → control group → document → monitor, runtime, process
"""
from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import containers
from windlass.worker import cgroups, network, seccomp, site, spec, upper
from windlass.worker import folder as folders
from windlass.worker.runtime import oci
from windlass.worker.snapshots import stock, template

_TEMPLATE_CPU = 1.0  # its share at least: all forks wait for it, and the more of them have begun the less it would get


class Launched(NamedTuple):
    """``ended``: of its exit status."""

    ended: asyncio.Future[int]
    group: cgroups.Cgroup
    record: folders.Record


async def start(
    place: site.Site, held: contextlib.AsyncExitStack, plan: containers.ContainerPlan, folder: folders.Folder,
    ground: site.Ground, *, uses: list[str], note: str = "", family: template.Family | None = None,
) -> Launched:  # fmt: skip
    """``note``: the first line of its log. ``family``: that it is the template of. What it holds goes to ``held``."""
    parts = place.parts
    await held.enter_async_context(site.removed(folder))
    net = await held.enter_async_context(
        parts.network.lease(folder.container_id, block_network=plan["block_network"], plan=plan.get("network"))
    )
    await asyncio.to_thread(_fill, folder, net, family)
    await asyncio.to_thread(upper.identify, folder, plan, net, root=folder.upper)
    if note:
        upper.note(folder, note)
    held.enter_context(site.stacked(folder, ground.lowers))
    walls = place.walls(plan, ground, folder)._replace(sys=net.sys)
    weight = plan if family is None else {**plan, "cpu_request": max(_TEMPLATE_CPU, plan["cpu_request"])}
    group = held.enter_context(place.limited(weight, walls.memory))
    if family is not None:
        walls = _of_template(walls, family)
    ended = held.enter_context(parts.exits.expect(folder.container_id))
    held.enter_context(place.forgotten(folder))
    created = None if family is None else lambda pid: family.keep(pid, parts.exits.path)
    alien = await held.enter_async_context(parts.buckets.open(plan, folder))
    async with parts.volumes.open(plan, folder) as binds:
        (folder.bundle / "config.json").touch(0o600)  # holds the secrets
        text = json.dumps(spec.document(walls._replace(binds=site.by_depth(walls.binds, [*binds, *alien]))))
        (folder.bundle / "config.json").write_text(text)
        record = await _launched(parts.runtime, folder, group, net.path, created)
    folder.write({
        **record, "memory_limit": walls.memory, "block_network": plan["block_network"], "uses": uses
    })  # fmt: skip
    return Launched(ended, group, record)


def _fill(folder: folders.Folder, net: network.Network, family: template.Family | None) -> None:
    upper.fill(folder, net, doors=[] if family is None else [template.DOOR])
    if family is not None:
        family.door.mkdir()
        family.door.chmod(0o755)
        (folder.path / stock.CELLS).mkdir(mode=0o711)
        folders.part(folder.path / stock.CELLS)


def _of_template(box: spec.Box, family: template.Family) -> spec.Box:
    """It can speak to its keeper, and be let into cells by whoever has the key."""
    return box._replace(
        binds=[*box.binds, spec.Bind(family.door, template.DOOR)],
        env={**box.env, "WINDLASS_TEMPLATE": f"{template.DOOR}/sock"},
        seccomp=seccomp.profile(key=family.key),
    )


async def _launched(
    runtime: oci.Oci, folder: folders.Folder, group: cgroups.Cgroup, inside: Path,
    created: Callable[[int], None] | None,
) -> folders.Record:  # fmt: skip
    """Launch in a thread. When that fails, nothing of it may be left running."""
    try:
        return await asyncio.to_thread(runtime.launch, folder, enter=group.enter_argv(into(inside)), created=created)
    except (exception.Error, OSError):
        folders.kill_by_files(folder.container_id, folder.pid_file, folder.monitor_file)
        raise


def into(namespace: Path) -> list[str]:
    """A command line that starts what follows it in a network namespace."""
    return ["nsenter", f"--net={namespace}", "--"]
