"""Sandboxes: containers that run a user's command, the commands in them, their files.

What only the worker can do (commands, files, snapshots) is sent to the server with the sandbox's id; the server waits
until the sandbox runs, and hands it on to the worker under the same name.
"""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.buckets import BucketMount
from windlass.wire.messages.functions import GpuSpec
from windlass.wire.messages.nfs import NfsMount
from windlass.wire.messages.volumes import VolumeMount


class ProbeSpec(TypedDict, total=False):
    """How to learn that a sandbox is ready: ``port`` accepts connections, or ``argv`` ends with 0."""

    port: int
    argv: list[str]
    interval: float


class PortSpec(TypedDict):
    """A port that others reach. ``kind``: "tls", "h2" (TLS with HTTP/2) or "tcp" (its own bytes, and TLS beside)."""

    port: int
    kind: str


class _SandboxSpec(TypedDict):
    """The part of ``SandboxSpec`` that is always there."""

    command: list[str]
    image_id: str
    mounts: list[str]
    secrets: list[str]
    cpu_request: float
    cpu_limit: float
    memory_request: int
    memory_limit: int
    timeout: float
    block_network: bool


class SandboxSpec(_SandboxSpec, total=False):
    """What a sandbox is, as stored. ``command`` empty: the image's own. ``timeout``: seconds that it may run.
    ``idle_timeout``: seconds without a command after which it ends; 0 or absent means never. ``inbound_cidrs``: who may
    come by its tunnels and connect tokens (``wire.reach``); absent means anybody, empty nobody. ``outbound_cidrs`` and
    ``outbound_domains`` and ``proxy`` as of functions.
    ``runtime``: how it is isolated, "gvisor" or "vm"; absent means as containers are. ``restore``: its image holds
    memory too, with which it goes on. ``memory_snapshot``: its memory may be kept; ``memory_expires``: until when,
    where that is decided already."""

    workdir: str
    idle_timeout: float
    pty: bool
    verbose: bool
    probe: ProbeSpec
    volumes: list[VolumeMount]
    buckets: list[BucketMount]
    nfs: list[NfsMount]
    gpus: list[GpuSpec]
    inbound_cidrs: list[str]
    ports: list[PortSpec]
    custom_domain: str
    runtime: str
    restore: bool
    memory_snapshot: bool
    memory_expires: float
    outbound_cidrs: list[str]
    outbound_domains: list[str]
    proxy: str


class SandboxPlan(TypedDict, total=False):
    """The part of a container's plan that makes it a sandbox: its process is this command, not our runner."""

    command: list[str]
    workdir: str
    pty: bool
    probe: ProbeSpec
    runtime: str
    restore: bool


class _SandboxCreate(TypedDict):
    app_id: str
    sandbox_id: str
    spec: SandboxSpec


class SandboxCreate(_SandboxCreate, total=False):
    """Idempotent in ``sandbox_id``, which the client chooses."""

    name: str
    tags: dict[str, str]


class SandboxRef(TypedDict):
    sandbox_id: str


class SandboxGet(TypedDict, total=False):
    """By id, or by app name and name; ``ended``: also one that runs no more."""

    sandbox_id: str
    app_name: str
    name: str
    environment: str
    ended: bool


class SandboxInfo(TypedDict):
    """``state``: "queued", "starting", "running", "finished". ``position``: how many wait before it, and it, for room;
    0 when it does not. ``code``: None while it runs. ``why``: "" for an end of its own, else "timeout", "idle",
    "terminated", "failed" (it never ran), "lost"; ``message`` says more."""

    sandbox_id: str
    app_id: str
    name: str
    tags: dict[str, str]
    state: str
    position: int
    ready: bool
    probed: bool
    container_id: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    code: int | None
    why: str
    message: str


class SandboxWait(TypedDict):
    """Answered when the sandbox is ``until`` ("running", "ready", "finished") or further, or after ``seconds``."""

    sandbox_id: str
    until: str
    seconds: float


class SandboxList(TypedDict, total=False):
    """Newest first. ``before``: go on behind this one. ``ended``: also those that run no more."""

    app_id: str
    environment: str
    tags: dict[str, str]
    before: str
    ended: bool


class SandboxListReply(TypedDict):
    sandboxes: list[SandboxInfo]


class SandboxTags(TypedDict):
    sandbox_id: str
    tags: dict[str, str]


class SandboxOutput(TypedDict, total=False):
    """The entrypoint's output of ``source`` from its beginning, as log entries; until its end."""

    sandbox_id: str
    source: str
    follow: bool


class SandboxInput(TypedDict, total=False):
    """Attachment 0 belongs at ``offset`` of the input of the entrypoint, or of the command ``exec_id``. What is there
    already is not written again. Answered when it is written. ``rows``, ``cols``: instead, the size of its terminal."""

    sandbox_id: str
    exec_id: str
    offset: int
    eof: bool
    rows: int
    cols: int


class _SandboxExec(TypedDict):
    sandbox_id: str
    exec_id: str
    command: list[str]


class SandboxExec(_SandboxExec, total=False):
    """Begin a command. Idempotent in ``exec_id``. ``discard``: names of streams that nobody will read.
    ``timeout`` in seconds; 0 or absent means none. ``env`` is filled in by the server from ``secrets`` as well."""

    workdir: str
    env: dict[str, str]
    secrets: list[str]
    timeout: float
    pty: bool
    rows: int
    cols: int
    discard: list[str]


class ExecRef(TypedDict, total=False):
    """``seconds``: how long to wait for its end."""

    sandbox_id: str
    exec_id: str
    seconds: float


class ExecState(TypedDict):
    """``code``: None while it runs, -1 when it ran out of time."""

    code: int | None


class ExecRead(TypedDict, total=False):
    """What ``source`` wrote from ``offset`` on, up to ``most`` bytes; waits ``seconds`` for the first of them."""

    sandbox_id: str
    exec_id: str
    source: str
    offset: int
    most: int
    seconds: float


class ExecPiece(TypedDict):
    """Attachment 0 is the piece. ``eof``: nothing will follow it."""

    eof: bool


class _FileRequest(TypedDict):
    sandbox_id: str
    op: str


class FileRequest(_FileRequest, total=False):
    """One operation on a path. ``op``:

    * "stat" (of a link itself), "list": answered with ``entries``
    * "read": ``offset``, ``size``; attachment 0 of the answer is what is there, ``total`` the file's size
    * "write": attachment 0 goes to ``offset``; ``mode``: "create" (fails where it exists), "truncate", "append", or
      "update" (must exist); ``parents`` makes the folders above
    * "mkdir": with ``parents`` also those above, and it may exist
    * "remove": with ``recursive`` a folder's contents, too
    """

    path: str
    offset: int
    size: int
    mode: str
    parents: bool
    recursive: bool
    follow: bool


class FileEntry(TypedDict):
    """``kind``: "file", "directory", "symlink" or "other". ``mode``: as stat gives it. ``target``: of a link."""

    name: str
    path: str
    kind: str
    size: int
    mode: int
    owner: int
    group: int
    modified: float
    target: str


class FileReply(TypedDict, total=False):
    entries: list[FileEntry]
    total: int


class WatchRequest(TypedDict, total=False):
    """A stream of ``WatchEvent``; ends after ``seconds`` (0: never)."""

    sandbox_id: str
    path: str
    recursive: bool
    seconds: float


class WatchEvent(TypedDict):
    """``kind``: "Access", "Create", "Modify", "Remove"."""

    kind: str
    paths: list[str]


class SnapshotRequest(TypedDict, total=False):
    """``path``: "" for the whole file system, as a layer on the sandbox's image; else a folder, as an image of its
    own. ``ttl``: seconds that it is kept; absent means for ever. ``seconds``: that it may take."""

    sandbox_id: str
    path: str
    ttl: float
    seconds: float


class SnapshotReply(TypedDict):
    """``mounts``: none; what local files lay over the image is in the snapshot."""

    image_id: str
    python: str
    mounts: list[str]


class _SnapshotPlan(TypedDict):
    sandbox_id: str
    path: str
    image_id: str
    parent: str


class SnapshotPlan(_SnapshotPlan, total=False):
    """What the worker is asked for: the layer ``image_id``, on ``parent`` unless ``path`` names a folder. ``mounts``:
    digests of the local files between the two. ``memory``: the sandbox's memory beside it; the sandbox ends with
    that."""

    mounts: list[str]
    memory: bool


class _MemoryKeep(TypedDict):
    sandbox_id: str
    snapshot_id: str


class MemoryKeep(_MemoryKeep, total=False):
    """Keep the memory and the files of a sandbox, which ends with it. Idempotent in ``snapshot_id``, which the client
    chooses."""

    seconds: float


class MemoryRef(TypedDict):
    snapshot_id: str


class MemoryInfo(TypedDict):
    snapshot_id: str
    app_id: str
    created_at: float
    expires_at: float


class _MemoryRestore(TypedDict):
    snapshot_id: str
    sandbox_id: str


class MemoryRestore(_MemoryRestore, total=False):
    """A sandbox that goes on where another one was. Idempotent in ``sandbox_id``. ``name``: absent means the name that
    the other one had, "" means none."""

    name: str


class SandboxMount(TypedDict, total=False):
    """Show the image at ``path``, or take away what is shown there."""

    sandbox_id: str
    path: str
    image_id: str


class _SandboxFork(TypedDict):
    sandbox_id: str
    fork_ids: list[str]


class SandboxFork(_SandboxFork, total=False):
    """As many new sandboxes as there are ``fork_ids``, which the client chooses, within ``seconds``."""

    seconds: float


class SandboxReload(TypedDict, total=False):
    sandbox_id: str
    seconds: float


class _SandboxTunnels(TypedDict):
    sandbox_id: str


class SandboxTunnels(_SandboxTunnels, total=False):
    """Where its ports are reached, once it runs, within ``seconds``."""

    seconds: float


class _TunnelInfo(TypedDict):

    port: int
    host: str
    number: int
    raw: int


class TunnelInfo(_TunnelInfo, total=False):
    """``host`` and ``number``: where TLS is spoken. ``raw``: where the program's own bytes are; 0: nowhere. ``plain``:
    URLs are http all the same."""

    plain: bool


class SandboxTunnelsReply(TypedDict):
    tunnels: list[TunnelInfo]


class _SandboxToken(TypedDict):
    sandbox_id: str
    port: int


class SandboxToken(_SandboxToken, total=False):
    """A token for requests to that port. ``metadata``: what the program there is told of who shows it."""

    metadata: str


class SandboxTokenReply(TypedDict):
    url: str
    token: str


class SandboxConnect(TypedDict):
    """Connect the port of this container with the edge, by the ``ticket`` that the edge waits for."""

    sandbox_id: str
    port: int
    ticket: str


class SandboxFiguresQuery(TypedDict):
    """Of the sandboxes of an app, from ``since`` to ``until`` (seconds since the epoch)."""

    app_id: str
    since: float
    until: float


class StartTimes(TypedDict):
    """Seconds; None when there was nothing."""

    p50: float | None
    p99: float | None


class SandboxFigures(TypedDict):
    """``created`` and ``ended`` in that time; ``waiting`` and ``running`` now."""

    created: int
    ended: int
    timeouts: int
    terminated: int
    failed: int
    waiting: int
    running: int
    start: StartTimes
