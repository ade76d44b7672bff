"""What a worker and the server say to each other. Level, not edge: the whole wanted set, the whole reality.

The server sends the notice ``worker.want`` on each change and each tick; the worker fetches what it needs
(``container.plan``, ``build.plan``) and answers with ``worker.report``.
"""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.containers import ContainerExit
from windlass.wire.messages.images import Recipe
from windlass.wire.messages.nfs import NfsMount
from windlass.wire.messages.volumes import MountPlan


class ContainerReality(TypedDict, total=False):
    """``state``: "starting", "running", "exited" (with ``exit``). ``log_end``: bytes of log already sent.
    ``execs``: of a sandbox, how many commands run in it. ``ready``: its probe succeeded."""

    container_id: str
    state: str
    exit: ContainerExit
    execs: int
    ready: bool


class Gpu(TypedDict):
    """A device that can be lent: ``kind`` as users ask for it, ``model`` as its driver names it."""

    gpu_id: str
    kind: str
    model: str


class LentGpu(Gpu):
    """``held_by``: a container, or "" while it is free."""

    held_by: str


class WorkerHello(TypedDict, total=False):
    """``memory`` in bytes. ``runtime``: which OCI runtime was chosen. ``gaps``: protections the host cannot give.
    ``levels``: why each way to isolate sandboxes is not there, "" where it is.
    ``uplink``: how containers are connected: "veth", "slirp" (by an ordinary user's program) or "none"."""

    node: str
    cpus: float
    memory: int
    runtime: str
    gaps: list[str]
    levels: dict[str, str]
    containers: list[ContainerReality]
    builds: list[str]
    images: list[str]
    gpus: list[Gpu]
    uplink: str


class WantedContainer(TypedDict, total=False):
    """``state``: "run"; "stop" (SIGINT, ``grace`` seconds, SIGKILL); "kill"."""

    container_id: str
    state: str
    grace: float


class WorkerWant(TypedDict):
    """Whatever the worker has and is not named here is not wanted: it is killed and reported."""

    containers: list[WantedContainer]
    builds: list[str]


class WorkerTemplates(TypedDict):
    """Which functions may still have templates; sent each tick while there are any that ask for snapshots."""

    functions: list[str]


class _Report(TypedDict):
    containers: list[ContainerReality]
    whole: bool


class WorkerReport(_Report, total=False):
    """``whole``: everything the worker has is listed; otherwise only what changed. ``templates``: the functions of all
    templates that take memory there. ``levels``: as in its hello."""

    templates: list[str]
    levels: dict[str, str]


class _BuildPlan(TypedDict):
    build_id: str
    image_id: str
    parent: str | None
    recipe: Recipe
    secrets: dict[str, str]


class BuildPlan(_BuildPlan, total=False):
    """One layer to make: ``recipe`` on top of ``parent`` (None for a base), named ``image_id`` when whole.

    ``secrets`` are the values for the step's environment; never stored. ``volumes``, ``nfs``: what the step mounts.
    ``gpus``: ids of its devices.
    """

    volumes: list[MountPlan]
    gpus: list[str]
    nfs: list[NfsMount]


class BuildRef(TypedDict):
    build_id: str


class BuildLog(TypedDict):
    build_id: str
    text: str


class _ImageMore(TypedDict, total=False):
    digest: str


class ImageMeta(_ImageMore):
    """``layers``: ids bottom first. ``python``: "3.11", or "" where the image has none. ``size`` of its own layer.

    ``digest``: of a base from a registry, the manifest that its name meant when it was pulled.
    """

    layers: list[str]
    env: dict[str, str]
    workdir: str
    entrypoint: list[str]
    python: str
    size: int


class SnapshotTaken(TypedDict):
    """The worker's answer to ``sandboxes.SnapshotPlan``."""

    meta: ImageMeta


class BuildResult(TypedDict, total=False):
    """``error`` is None when the layer is published, else what failed, with the command."""

    build_id: str
    error: str | None
    meta: ImageMeta


class LogPiece(TypedDict):
    """``input_id`` as marked by the runner, or None."""

    time: float
    source: str
    text: str
    input_id: str | None


class WorkerSaid(TypedDict):
    """A line of the platform's own for a container's log."""

    container_id: str
    text: str


class WorkerLogs(TypedDict):
    """``offset``: position in the container's log file after these entries; a repeated one is ignored."""

    container_id: str
    offset: int
    entries: list[LogPiece]


class ContainerLogs(TypedDict):
    """Where to go on reading after a restart of the worker."""

    offsets: dict[str, int]


class NodeInfo(TypedDict):
    """A connected worker and its machine, as it said in ``WorkerHello``. ``promised``: bytes of ``memory`` that its
    ``containers`` may have."""

    node: str
    cpus: float
    memory: int
    runtime: str
    gaps: list[str]
    promised: int
    containers: int
    gpus: list[LentGpu]


class NodeList(TypedDict):
    nodes: list[NodeInfo]
