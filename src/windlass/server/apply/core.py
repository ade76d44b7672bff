"""What every action has at hand."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from windlass.kit import clock, tasks, tracing
from windlass.server import settings
from windlass.server.apply import turn
from windlass.server.bus import signal
from windlass.server.objects import blobs, contract, gate, keyring, uploads
from windlass.server.state import identity, machines, measures, queues, terminals, web
from windlass.server.store import builds, calls, collections, containers, database, logs, sandboxes


@dataclasses.dataclass
class Counters:
    """The next number of each noun; numbers are handed out here, not by the database."""

    call: int
    container: int
    log: int
    build_log: int = 1
    sandbox: int = 1


@dataclasses.dataclass
class Core:
    """Built once by ``compose`` and handed to whoever acts."""

    settings: settings.Settings
    db: database.Database
    world: machines.World
    turn: turn.Turn
    clock: clock.Clock
    uploads: uploads.Uploads
    """Files on their way into volumes; the worker takes them out of here."""
    objects: contract.Store
    """Where blobs, and archives of layers of volumes, are kept."""
    blobs: blobs.Blobs
    gate: gate.Gate
    """Passed by whatever deletes what a backup may be reading."""
    keyring: keyring.Keyring
    scheduler: signal.Signal
    firings: signal.Signal
    counters: Counters
    server_id: str
    tasks: tasks.Tasks
    execs: dict[str, tuple[machines.Worker, Any]] = dataclasses.field(default_factory=dict)
    """Where each running command of ``container.exec`` runs, and the connection of who runs it."""
    holds: dict[str, int] = dataclasses.field(default_factory=dict)
    """How many terminals each command of a sandbox ends with, when the last of them has gone."""
    queues: queues.Queues = dataclasses.field(default_factory=queues.Queues)
    """Partitions that somebody deals with."""
    collections: dict[str, collections.Row] = dataclasses.field(default_factory=dict)
    """Rows of dicts and queues that were used lately, by id."""
    receipts: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What is known of the receipts of clients that are connected (``apply.receipts.Seen``)."""
    web: web.Web = dataclasses.field(default_factory=web.Web)
    tracer: tracing.Exporter | None = None
    """Where spans of calls go, if anywhere."""
    measures: measures.Measures = dataclasses.field(default_factory=measures.Measures)
    identity: identity.Identity = dataclasses.field(default_factory=identity.Identity)
    terminals: terminals.Terminals = dataclasses.field(default_factory=terminals.Terminals)
    dirty_nodes: set[str] = dataclasses.field(default_factory=set)
    """Nodes whose wanted set changed in this turn."""
    dirty_logs: set[int] = dataclasses.field(default_factory=set)
    """Apps with new log entries in this turn."""
    followers: dict[int, list[Any]] = dataclasses.field(default_factory=dict)
    """Open log streams by app."""
    anew: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    """Images that were built although the cache had one, by (app or client that wanted it, key). Once is enough."""
    used: dict[str, float] = dataclasses.field(default_factory=dict)
    """When the last use of an image was written."""
    dirty_builds: set[str] = dataclasses.field(default_factory=set)
    """Builds with new output in this turn."""
    build_readers: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    """Open streams of a build's output, by image id."""
    handed: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    """Images that an open app or client was told of and may be about to use."""
    removing: dict[str, list[Callable[[], None]]] = dataclasses.field(default_factory=dict)
    """Images that a worker is being asked to remove, with those who wait for the outcome."""
    unknown: dict[str, float] = dataclasses.field(default_factory=dict)
    """Images of workers that no row knows, since when."""
    upkeep: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    """Held by whoever removes images: one at a time."""
    merging: set[str] = dataclasses.field(default_factory=set)
    """Volumes whose layers are being merged."""
    on_way: set[str] = dataclasses.field(default_factory=set)
    """Layers of volumes that are about to be named by a version, and must not be swept meanwhile."""
    bringing: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    """Held by whoever brings a layer of a volume to the worker: one at a time."""
    editing: set[str] = dataclasses.field(default_factory=set)
    """Edits of volumes under way."""
    measured: dict[str, tuple[list[str], int]] = dataclasses.field(default_factory=dict)
    """By volume: layers of which somebody counted what they show, and those bytes (``apply.quotas``)."""
    refused: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    """Containers and volumes whose commits are refused for a quota: their log says so once."""
    measuring: bool = False
    """Whether volumes are being measured because all of them seem too large together."""
    over_quota: str = ""
    """Why no values are accepted, when all that is stored has reached its quota."""
    unheard_of: str = ""
    """The id of a call that nobody knew when it was last asked for; "" when calls were made since."""
    calm_until: float = 0.0
    """Until then, by ``clock.monotonic``, nothing is forgotten for its age (``apply.leaps``)."""
    low_disk: str = ""
    """Why nothing new is accepted, when the disk is nearly full."""

    def count_again(self) -> None:
        """Continue counting behind what rows say."""
        self.counters.call = calls.next_n(self.db)
        self.counters.container = containers.next_n(self.db)
        self.counters.log = logs.next_n(self.db)
        self.counters.build_log = builds.next_n(self.db)
        self.counters.sandbox = sandboxes.next_n(self.db)


def where(core: Core, environment: str) -> str:
    """What a command needs to mean that environment, for hints: nothing where it is the usual one."""
    return "" if environment == core.settings.environment else f" -e {environment}"
