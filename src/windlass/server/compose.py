"""Builds everything and knows everyone: the only place where the server's parts are put together."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from windlass import exception, paths
from windlass.kit import clock as clock_module
from windlass.kit import ids, sockets, tasks, tracing
from windlass.server import settings as settings_module
from windlass.server.api import apps as _apps
from windlass.server.api import billing as _billing
from windlass.server.api import blobs as _blobs
from windlass.server.api import calls as _calls
from windlass.server.api import clusters as _clusters
from windlass.server.api import collections as _collections
from windlass.server.api import deployments as _deployments
from windlass.server.api import dicts as _dicts
from windlass.server.api import door
from windlass.server.api import environments as _environments
from windlass.server.api import identity as _identity
from windlass.server.api import images as _images
from windlass.server.api import machines as _machines
from windlass.server.api import nfs as _nfs
from windlass.server.api import openapi as _openapi
from windlass.server.api import proxies as _proxies
from windlass.server.api import queues as _queues
from windlass.server.api import records as _records
from windlass.server.api import runners as _runners
from windlass.server.api import sandboxes as _sandboxes
from windlass.server.api import schedules as _schedules
from windlass.server.api import secrets as _secrets
from windlass.server.api import storage as _storage
from windlass.server.api import terminals as _terminals
from windlass.server.api import tunnels as _tunnels
from windlass.server.api import upkeep as _upkeep
from windlass.server.api import variants as _variants
from windlass.server.api import volumes as _volumes
from windlass.server.api import web as _web
from windlass.server.api import workers as _workers
from windlass.server.apply import core as core_module
from windlass.server.apply import health, load, metrics, outputs, schedule, traces
from windlass.server.apply import turn as turn_module
from windlass.server.bus import link, signal
from windlass.server.loops import checkpoint, firings, garbage, pulse, reaper, scheduler
from windlass.server.objects import blobs, contract, disk, gate, keyring, s3, uploads
from windlass.server.state import machines
from windlass.server.store import database

if TYPE_CHECKING:
    from windlass.server.ingress import operations

API = (
    _apps, _billing, _blobs, _calls, _clusters, _collections, _deployments, _dicts, _environments, _identity, _images,
    _machines, _nfs, _proxies, _queues, _records, _runners, _sandboxes, _schedules, _secrets, _storage,
    _terminals, _tunnels, _upkeep, _variants, _volumes, _web, _workers,
)  # fmt: skip
"""The nouns that this server answers for; importing them registers their handlers."""

_LOOPS = (
    ("scheduler", scheduler),
    ("firings", firings),
    ("reaper", reaper),
    ("garbage", garbage),
    ("checkpoint", checkpoint),
    ("pulse", pulse),
)

USERS = frozenset({"user", "worker"})
REMOTE = frozenset({"user"})
CONTAINERS = frozenset({"runner", "container"})


def core(
    settings: settings_module.Settings, owner: tasks.Tasks, clock: clock_module.Clock, links: set[link.Link]
) -> core_module.Core:
    """The inside of a server on the state below ``settings.home``, loaded from its rows."""
    home = settings.home
    (home / "db").mkdir(parents=True, exist_ok=True, mode=0o700)
    db = database.Database(str(home / "db" / "windlass.sqlite3"), settings.synchronous)
    turn = turn_module.Turn(db)
    objects = _store(settings)
    made = core_module.Core(
        settings=settings,
        db=db,
        world=machines.World(),
        turn=turn,
        clock=clock,
        objects=objects,
        blobs=blobs.Blobs(home / "blobs", objects, owner.start, gate.of(home)),
        gate=gate.of(home),
        uploads=uploads.Uploads(home / "uploads", owner.start, synchronous=settings.synchronous == "FULL"),
        keyring=keyring.Keyring(home / "db" / "key"),
        scheduler=signal.Signal(),
        firings=signal.Signal(),
        counters=core_module.Counters(0, 0, 0),
        server_id=ids.new("sv"),
        tasks=owner,
    )
    if settings.traces:
        made.tracer = tracing.Exporter(settings.traces, service="windlass", headers=settings.traces_headers)
        turn.traced = lambda item: traces.running(made, item).text()
    turn.prepare = functools.partial(schedule.leasing, made)
    turn.push = functools.partial(outputs.push, made)
    turn.recover = lambda exc: _begin_anew(made, links)
    load.load(made)
    return made


def _store(settings: settings_module.Settings) -> contract.Store:
    """Where blobs are kept."""
    if settings.objects:
        return s3.Bucket(settings.objects, settings.aws)
    return disk.Disk(settings.home / "blobs", synchronous=settings.synchronous == "FULL")


def _begin_anew(core: core_module.Core, links: set[link.Link]) -> None:
    """After a turn that failed: forget memory, read rows, let everybody connect again."""
    core.dirty_nodes.clear()
    core.dirty_logs.clear()
    core.followers.clear()
    core.dirty_builds.clear()
    core.build_readers.clear()
    core.used.clear()
    core.queues.clear()
    core.receipts.clear()
    core.collections.clear()
    core.web.changed()
    core.identity.changed()
    for connection in list(links):
        connection.close()
        connection.identity = None
    for name, empty in vars(machines.World()).items():
        setattr(core.world, name, empty)
    try:
        load.load(core)
    except exception.Error as error:
        raise SystemExit(f"the rows cannot be read: {error}") from error  # the supervisor starts another one


@contextlib.asynccontextmanager
async def server(
    settings: settings_module.Settings, clock: clock_module.Clock | None = None
) -> AsyncIterator[core_module.Core]:
    """A running server: sockets open, loops turning. Leaving the block stops it cleanly."""
    clock = clock or clock_module.SystemClock()
    links: set[link.Link] = set()
    async with tasks.Tasks() as owner, contextlib.AsyncExitStack() as stack:
        made = core(settings, owner, clock, links)
        stack.callback(made.db.close)
        checked = health.Health(made)
        if settings.listen:
            from windlass.server.ingress.remote import listening  # costly, as the edge

            entrance = door.Door(made, REMOTE, links, trusted=False)
            pages = _health(checked, says_why=False)
            await stack.enter_async_context(listening.serve(made, entrance.connection, owner, pages))
        for path, _, _ in _sockets(settings.home):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.web_port >= 0:
            from windlass.server.ingress import listener  # costly, and most tests have no edge

            folder = paths.containers_socket(settings.home).parent
            await stack.enter_async_context(listener.serve(made, folder, owner))
        if settings.web_port >= 0 or settings.metrics:
            from windlass.server.ingress import operations

            place = paths.operations_socket(settings.home)
            await stack.enter_async_context(operations.serve(_pages(made, checked), place, settings.metrics))
        # Last: a server that cannot listen elsewhere shall not have answered before it ends.
        for path, roles, mode in _sockets(settings.home):
            await stack.enter_async_context(_listen(path, mode, door.Door(made, roles, links)))
        stack.callback(_close_links, links)
        for name, loop in _LOOPS:
            owner.start(loop.run(made), name)
        try:
            yield made
        finally:
            made.turn.end()
            await owner.close()
            made.turn.end()
            if made.tracer is not None:
                await asyncio.to_thread(made.tracer.flush, 1.0)


def _pages(core: core_module.Core, checked: health.Health) -> operations.Pages:
    """What the door of operations shows."""
    from windlass.kit import exposition
    from windlass.server.ingress import operations

    async def figures() -> operations.Answer:
        return operations.Answer(200, exposition.TYPE, metrics.page(core))

    async def described() -> operations.Answer:
        return operations.said(200, _openapi.document())

    return {"/metrics": figures, **_health(checked, says_why=True), "/openapi.json": described}


def _health(checked: health.Health, *, says_why: bool) -> operations.Pages:
    """``says_why``: what is missing is for the owner."""
    from windlass.server.ingress import operations

    async def alive() -> operations.Answer:
        return operations.said(200, {"state": "alive"})

    async def ready() -> operations.Answer:
        gaps = await checked.gaps()
        more = {"gaps": gaps} if says_why else {}
        return operations.said(503 if gaps else 200, {"state": "not ready" if gaps else "ready", **more})

    return {"/healthz": alive, "/readyz": ready}


def _close_links(links: set[link.Link]) -> None:
    for connection in list(links):
        connection.close()


def _sockets(home: Path) -> list[tuple[Path, frozenset[str], int]]:
    return [(paths.server_socket(home), USERS, 0o600), (paths.containers_socket(home), CONTAINERS, 0o666)]


@contextlib.asynccontextmanager
async def _listen(path: Path, mode: int, entrance: door.Door) -> AsyncIterator[None]:
    """Accept connections at ``path`` until the block is left. A socket that is there is replaced, nothing else is."""
    if mode != 0o600:
        path.parent.chmod(0o755)  # whatever the umask: users of containers pass through
    sockets.vacate(path)
    before = os.umask(0o177)
    try:
        listener = await asyncio.get_running_loop().create_unix_server(entrance.connection, str(path), backlog=1024)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise exception.ConflictError(f"somebody else listens at {path}") from exc
        raise exception.PermissionDeniedError(f"cannot listen at {path}: {exc}") from exc
    finally:
        os.umask(before)
    path.chmod(mode)
    try:
        yield
    finally:
        listener.close()
        sockets.leave(path)
