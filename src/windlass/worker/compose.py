"""Builds everything the worker consists of: the one module of this room that knows all others."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
from collections.abc import AsyncIterator
from pathlib import Path

from windlass import exception, paths
from windlass.worker import (
    cgroups,
    container,
    gpus,
    library,
    mounts,
    network,
    node,
    outside,
    seccomp,
    site,
    spec,
    step,
    upper,
)
from windlass.worker import folder as folders
from windlass.worker.buckets import service as bucket_service
from windlass.worker.images import build, configured, holds, relay, store
from windlass.worker.runtime import base, handle, probe, process
from windlass.worker.sandboxes import starting, trying
from windlass.worker.snapshots import families
from windlass.worker.volumes import service as volume_service

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def plain(home: Path) -> AsyncIterator[base.Runtime]:
    """No isolation, for the project's own tests."""
    async with process.Processes(home) as runtime:
        yield runtime


@contextlib.asynccontextmanager
async def isolated(
    home: Path, *, wanted: str, memory: int, outer: outside.Outside
) -> AsyncIterator[base.Runtime]:
    """Containers, inside the node namespace of ``home``. ``wanted``: an OCI runtime by name, or "" for any."""
    place, run = node.load(home), paths.run(home)
    if place is None:
        raise exception.ExecutionError("the node namespace is not up")
    groups = cgroups.Cgroups(place.groups)
    groups.join()
    server = paths.containers_socket(home).parent
    server.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as held:
        exits = held.enter_context(handle.Exits(run / "exits"))
        scratch = _reachable(place.inside)
        runtime, verdicts = await asyncio.to_thread(
            probe.choose, run, exits=exits.path, scratch=scratch, wanted=wanted
        )
        for verdict in verdicts:
            _log.info("OCI runtime %s: %s", verdict.name, verdict.why or "works")
        pool = await held.enter_async_context(network.NetworkPool(place, outside=outer.socket))
        shared = await held.enter_async_context(library.Library(place.inside))
        trees = mounts.Mounts(place.inside, owner=True)
        steps = step.Steps(
            place.inside, runtime=runtime, groups=groups, names=_names(place), memory=memory
        )
        images = store.Store(place.inside, holds.Holds())
        relays = relay.Relays(outer.socket, needed=place.uplink.kind != "none")
        kept = volume_service.Volumes(place.inside)
        devices = gpus.here()
        builder = build.Builder(
            place.inside, steps=steps, mounts=trees, namespace=place.userns, outer=outer, library=shared.path,
            relays=relays, own=home / configured.FILE, mounted=kept.steps.mounted, devices=devices,
            held=images.held,
        )  # fmt: skip
        alien = bucket_service.Buckets(place.view, relays, pool)
        await asyncio.to_thread(kept.layers.sweep)
        await asyncio.to_thread(kept.nfs.sweep)
        await steps.sweep()
        await builder.sweep()
        await trees.sweep()
        living = [*folders.known(place.inside), *folders.known(place.inside, folders.FAMILIES)]
        templates = await held.enter_async_context(families.Families(place.inside, memory=memory))
        if not living:
            await shared.prune()
        alien.retain(living)
        pool.retain(living)
        groups.retain(living)
        starter = await held.enter_async_context(starting.Starting(run, exits.path))
        offered = await held.enter_async_context(trying.Offer(place.inside, starter))
        parts = site.Parts(
            root=place.inside, server=server, runtime=runtime, exits=exits, network=pool, cgroups=groups,
            mounts=trees, library=shared, steps=steps, memory=memory, builder=builder,
            store=images, families=templates, volumes=kept, buckets=alien, starter=starter, gpus=devices,
            levels=offered,
        )  # fmt: skip
        exits.retain(living)
        isolated_runtime = container.Containers(parts, gaps=[*place.gaps, *_gaps()])
        templates.serve(isolated_runtime.forks, isolated_runtime.forks.adopt)
        yield isolated_runtime


def _gaps() -> list[str]:
    if seccomp.profile() is None:
        return [f"system calls of containers are not filtered: there is no profile for {platform.machine()} yet"]
    return []


def _reachable(home: Path) -> Path:
    """Let the users of containers, and nobody else of this machine, pass through to their own root file systems.

    Returns the folder of containers.
    """
    os.chown(home, -1, spec.OWNER)
    home.chmod(home.stat().st_mode & 0o700 | 0o010)
    for name in ("containers", folders.FAMILIES, folders.STEPS, "layers", "mounts", "lib", "steps"):
        (home / name).mkdir(exist_ok=True)
        (home / name).chmod(0o711)
    folders.part(home / "containers")
    return home / "containers"


def _names(place: node.Node) -> Path:
    """A layer with what build steps see of names: the node's resolvers and the machine's own hosts."""
    layer = place.inside / "lib" / "names"
    (layer / "etc").mkdir(parents=True, exist_ok=True)
    lines = [f"nameserver {address}\n" for address in place.uplink.resolvers]
    (layer / "etc/resolv.conf").write_text("".join(lines))
    (layer / "etc/hosts").write_text(Path("/etc/hosts").read_text())
    upper.give(layer)
    return layer
