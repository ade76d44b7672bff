"""Looks once a second for what should have ended or spoken by now, and sends the wanted sets again: one may be lost."""

from __future__ import annotations

import logging

from windlass.server.apply import (
    apps,
    builds,
    cancel,
    collections,
    containers,
    deadlines,
    disk,
    leaps,
    nodes,
    quotas,
    sandboxes,
)
from windlass.server.apply import core as core_module

Core = core_module.Core
_log = logging.getLogger(__name__)


async def run(core: Core) -> None:
    while True:
        await core.clock.sleep(core.settings.tick)
        try:
            look(core)
        except Exception as exc:  # noqa: BLE001 - a loop's tick: log, and try again at the next
            _log.exception("the reaper's look failed")
            core.turn.abandon(exc)


def look(core: Core) -> None:
    """One look."""
    leaps.follow(core)
    now = core.clock.now()
    disk.look(core)
    quotas.look(core)
    deadlines.check(core, now)
    apps.silent(core, now)
    sandboxes.look(core, now)
    _clients(core, now)
    _nodes(core, now)
    builds.give_up(core, now)
    for app in list(core.world.apps.values()):
        if app.draining:
            core.turn.begin()
            apps.stop_if_drained(core, app)
        elif not app.alive:
            apps.stopped_if_empty(core, app)
    for node in core.world.workers:
        containers.send_want(core, node)
        containers.send_templates(core, node)


def _clients(core: Core, now: float) -> None:
    for client, since in list(core.world.gone.items()):
        if now - since > core.settings.caller_gone:
            del core.world.gone[client]
            core.turn.begin()
            cancel.cancel_for_client(core, client)
            builds.forget_scope(core, client)
            collections.end_client(core, client)


def _nodes(core: Core, now: float) -> None:
    for node, since in list(core.world.lost_nodes.items()):
        if now - since > core.settings.worker_lost:
            del core.world.lost_nodes[node]
            nodes.node_lost(core, node)

