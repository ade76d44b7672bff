"""A sandbox from its folder to its command: the walls of all containers around the user's own command, which our
starter starts. There is no runner in it, no library, no token."""
from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker import gpus, site, spec
from windlass.worker.runtime import contained, handle
from windlass.worker.sandboxes import box, entering, probing, ways


@contextlib.asynccontextmanager
async def opened(
    place: site.Site, plan: containers.ContainerPlan, uses: list[str]
) -> AsyncIterator[contained.Contained]:
    """It runs in the block. ``uses``: its image and its mounts. Raises ``windlass.exception.Error``."""
    parts, name = place.parts, plan["container_id"]
    folder = folders.Folder(parts.root, name)
    image, lent = place.layers.read(plan["image_id"]), plan.get("gpus", [])
    argv, asked = box.words(plan, image), box.asked(plan, image)
    asked["env"] = gpus.environment(asked["env"], lent)
    way = await ways.of(plan, place)
    if plan["sandbox"].get("pty"):
        asked["env"].setdefault("TERM", "xterm-256color")
    asked, lowers = way.asked(asked), await place.lowers(plan)
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(site.removed(folder))
        net = await held.enter_async_context(place.place(name, plan))
        box.fill(folder, net)
        held.enter_context(site.stacked(folder, lowers))
        limit = way.memory()
        group = held.enter_context(place.limited(plan, limit + way.beside))
        box.keep(folder, asked)
        if probe := plan["sandbox"].get("probe"):
            probing.keep(folder.path, probe)
        ended = held.enter_context(parts.exits.expect(name))
        alien = await held.enter_async_context(parts.buckets.open(plan, folder))
        async with parts.volumes.open(plan, folder) as own:
            box.workplace(folder.rootfs, asked["cwd"])
            binds = box.targets(folder.rootfs, site.by_depth([], [*own, *alien]))
            binds += box.files(folder.rootfs, parts.gpus.binds(lent))
            walls = spec.Box(  # the command and its environment are the starter's business
                name=name, argv=[], env={}, cwd="/", rootfs=folder.rootfs, binds=binds, memory=limit,
                open_files=place.open_files, seccomp=None,
            )  # fmt: skip
            first = await parts.starter.cell(name, await way.cell(walls, folder))
            await held.enter_async_context(site.killed(first))
            if not plan["block_network"]:
                await parts.network.link(name, Path(f"/proc/{first}/ns/net"))
        record: folders.Record = {
            "container_id": name, "pid": first, "pid_start": folders.start_time(first),
            "monitor": parts.starter.pid, "monitor_start": folders.start_time(parts.starter.pid),
            "memory_limit": limit, "block_network": plan["block_network"], "uses": uses,
        }  # fmt: skip
        home = box.Home(folder, record, asked, [str(door) for door in group.doors])
        inside: entering.Inside = {
            **home.inside(argv), "hostname": name[:63], "log": str(folder.log),
            "stdin": str(folder.path / box.STDIN), "pty": plan["sandbox"].get("pty", False),
        }  # fmt: skip
        process = await way.start(ways.Opening(home, walls, inside, net, ended))
        record = {**record, "process": process, "process_start": folders.start_time(process)}
        folder.write(record)
        running = held.enter_context(handle.Handle(folder, ended).watch(record))
        if plan.get("volumes"):
            await held.enter_async_context(parts.volumes.following(name, folder, first))
        yield contained.Contained(running, group, *ways.hungry(folder, home.level))
