"""Figures of the whole server for monitoring: what it counted, and what there is right now.

Names of apps and functions are labels, so there are only so many of them: the busiest, and the others as one.
"""

from __future__ import annotations

import collections
import http
import os
from collections.abc import Iterator

import windlass
from windlass import wire
from windlass.kit import exposition
from windlass.server.apply import core as core_module
from windlass.server.apply import gpus
from windlass.server.state import machines, measures, moves
from windlass.server.store import storage

Core = core_module.Core
_MOST = 100
_OTHERS = ("", "(others)")
_KNOWN = {int(status) for status in http.HTTPStatus}
Key = tuple[str, str]


def page(core: Core) -> str:
    """All figures, in the text format of Prometheus."""
    made = exposition.Page()
    _counted(core, made)
    _functions(core, made)
    _things(core, made)
    return made.text()


def _counted(core: Core, made: exposition.Page) -> None:
    own = core.measures
    facts = {"version": str(windlass.__version__), "protocol": str(wire.PROTOCOL)}
    made.family("windlass_build_info", "gauge", "The server that answers.", [(facts, 1)])
    ended = [({"status": s.name.lower()}, own.ended[s]) for s in moves.Status if s != moves.Status.ITEM]
    made.family("windlass_inputs_ended_total", "counter", "Inputs that ended, by how.", ended)
    requests: collections.Counter[str] = collections.Counter()
    for status, count in own.web.items():
        requests[str(status) if status in _KNOWN or status == 499 else "other"] += count
    rows = [({"status": status}, requests[status]) for status in sorted(requests)]
    made.family("windlass_web_requests_total", "counter", "Requests to web functions, by HTTP status.", rows)
    starts = [_timing(timing, phase=phase) for phase, timing in own.starts.items()]
    made.histogram("windlass_container_start_seconds", "Starts of containers, by phase.", starts)
    made.histogram("windlass_commit_seconds", "Commits of the database.", [_timing(core.turn.took)])
    made.histogram("windlass_scheduler_look_seconds", "Looks of the scheduler at all functions.", [_timing(own.looks)])
    if core.tracer is not None:
        spans = [({"fate": "sent"}, core.tracer.sent), ({"fate": "lost"}, core.tracer.lost)]
        made.family("windlass_trace_spans_total", "counter", "Spans of calls, for the collector.", spans)
    made.histogram("windlass_loop_lag_seconds", "How much too late the event loop comes.", [_timing(own.lag)])


def _timing(one: measures.Timing, **labels: str) -> tuple[dict[str, str], list[float], list[int], float]:
    return labels, list(one.bounds), one.counts, one.total


# -- functions ---------------------------------------------------------------------------------------------


class _Pool:
    """Functions of one name in one app, with variants and versions."""

    def __init__(self) -> None:
        self.queued = self.running = self.delayed = 0
        self.containers: collections.Counter[str] = collections.Counter()

    def add(self, function: machines.Function) -> None:
        self.queued += function.queued
        self.running += function.running
        self.delayed += len(function.delayed)
        self.containers.update(c.state.name.lower() for c in function.containers.values() if c.sandbox is None)

    def merge(self, other: _Pool) -> None:
        self.queued += other.queued
        self.running += other.running
        self.delayed += other.delayed
        self.containers.update(other.containers)

    @property
    def weight(self) -> int:
        return self.queued + self.running + self.delayed + sum(self.containers.values())


def _pools(core: Core) -> dict[Key, _Pool]:
    """The busiest ones by app and function, the others together."""
    pools: collections.defaultdict[Key, _Pool] = collections.defaultdict(_Pool)
    for function in core.world.functions.values():
        pools[function.app.name or function.app.description, function.tag].add(function)
    ranked = sorted(pools, key=lambda key: -pools[key].weight)
    shown = {key: pools[key] for key in ranked[:_MOST]}
    for key in ranked[_MOST:]:
        shown.setdefault(_OTHERS, _Pool()).merge(pools[key])
    return shown


def _functions(core: Core, made: exposition.Page) -> None:
    pools = {_named(key): pool for key, pool in _pools(core).items()}
    for what, help in (
        ("queued", "Inputs that wait for a container."),
        ("running", "Inputs that containers have."),
        ("delayed", "Inputs that wait for their next try."),
    ):
        rows = [(dict(labels), float(getattr(pool, what))) for labels, pool in pools.items()]
        made.family(f"windlass_inputs_{what}", "gauge", help, rows)
    made.family("windlass_containers", "gauge", "Containers of functions, by state.", list(_states(pools)))


def _named(key: Key) -> tuple[tuple[str, str], ...]:
    return ("app", key[0][:100]), ("function", key[1][:100])


def _states(pools: dict[tuple[tuple[str, str], ...], _Pool]) -> Iterator[tuple[dict[str, str], float]]:
    for labels, pool in pools.items():
        for state, count in sorted(pool.containers.items()):
            yield {**dict(labels), "state": state}, count


# -- the rest ----------------------------------------------------------------------------------------------


def _things(core: Core, made: exposition.Page) -> None:
    world = core.world
    boxes = collections.Counter(one.state for one in world.sandboxes.values())
    rows = [({"state": s.name.lower()}, boxes[s]) for s in moves.SandboxState if s != moves.SandboxState.FINISHED]
    made.family("windlass_sandboxes", "gauge", "Sandboxes that have not ended, by state.", rows)
    made.family("windlass_workers", "gauge", "Workers that are connected.", [({}, len(world.workers))])
    made.family("windlass_clients", "gauge", "Clients that are connected.", [({}, len(world.clients))])
    made.family("windlass_gpus", "gauge", "GPUs of all machines.", list(_gpus(core)))
    disk = os.statvfs(core.settings.home)
    stored = {
        "blobs": core.blobs.total(),
        "volumes": storage.layers(core.db),
        "database": storage.used(core.db),
        "database log": core.db.log_size(),
    }
    sizes = [({"what": what}, size) for what, size in stored.items()]
    made.family("windlass_stored_bytes", "gauge", "What is stored. Volumes: their layers, each once.", sizes)
    made.family("windlass_disk_free_bytes", "gauge", "Room on the disk of the state folder.",
                [({}, disk.f_bavail * disk.f_frsize)])  # fmt: skip


def _gpus(core: Core) -> Iterator[tuple[dict[str, str], float]]:
    kinds: collections.Counter[tuple[str, str]] = collections.Counter()
    for worker in core.world.workers.values():
        free = {gpu.id for gpu in gpus.free(core, worker)}
        for gpu in gpus.of(worker):
            kinds[gpu.kind, "free" if gpu.id in free else "lent"] += 1
    for kind in sorted({kind for kind, _ in kinds}):
        for state in ("free", "lent"):
            yield {"kind": kind, "state": state}, kinds[kind, state]
