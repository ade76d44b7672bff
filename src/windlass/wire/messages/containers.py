"""Containers as users, workers and runners see them."""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.buckets import BucketPlan
from windlass.wire.messages.functions import FunctionInfo, FunctionSpec
from windlass.wire.messages.network import NetworkPlan
from windlass.wire.messages.nfs import NfsMount
from windlass.wire.messages.sandboxes import SandboxPlan
from windlass.wire.messages.volumes import MountPlan


class ContainerList(TypedDict, total=False):
    app_id: str


class ContainerInfo(TypedDict):
    """``state``: starting, ready, draining, stopping. ``started_at`` None while pending.

    Its start: ``created_at`` decided, ``made_at`` its process began, ``started_at`` ready; ``phases`` as in
    ``work.RunnerReady``.
    """

    container_id: str
    app_id: str
    app_name: str
    function_id: str
    function_tag: str
    state: str
    node: str
    started_at: float | None
    created_at: float
    made_at: float | None
    phases: dict[str, float]


class ContainerListReply(TypedDict):
    containers: list[ContainerInfo]


class ContainerStop(TypedDict, total=False):
    """Not graceful: running inputs are interrupted and run again elsewhere."""

    container_id: str
    graceful: bool


class ContainerRef(TypedDict):
    container_id: str


class _ContainerPlanMore(TypedDict, total=False):
    """``volumes``, ``buckets``, ``nfs``, ``gpus``: absent where there are none. ``sandbox``: it runs this instead of a
    runner, and has no token. ``network``: absent where it may reach all that others may."""

    volumes: list[MountPlan]
    buckets: list[BucketPlan]
    nfs: list[NfsMount]
    gpus: list[str]
    network: NetworkPlan
    sandbox: SandboxPlan


class ContainerPlan(_ContainerPlanMore):
    """What the worker needs to make one container; everything but the host's own choices.

    Layers, environment, workdir and entrypoint of the image come from the worker's own record of ``image_id``.
    ``mounts`` are stacked above it in order. ``env`` holds the secrets and is never logged nor written to disk
    outside the container's private folder. Limits of 0 mean none asked for. ``snapshot``: it may be forked from a
    template of its function instead of started. ``gpus``: ids of the devices that are its own.
    """

    container_id: str
    app_id: str
    function_id: str
    image_id: str
    token: str
    mounts: list[str]
    env: dict[str, str]
    cpu_request: float
    cpu_limit: float
    memory_request: int
    memory_limit: int
    pids_limit: int
    block_network: bool
    restrict_access: bool
    snapshot: bool
    runner: RunnerPlan


class AppLayout(TypedDict):
    """The functions of the app, so that handles made at import inside the container know their ids."""

    app_id: str
    app_name: str | None
    functions: dict[str, FunctionInfo]


class ClusterPlan(TypedDict):
    """The cluster that a container belongs to, and its place in it. ``containers`` and ``addresses`` are by rank."""

    cluster_id: str
    rank: int
    containers: list[str]
    addresses: list[str]


class _RunnerPlan(TypedDict):
    """The part of ``RunnerPlan`` that is always there."""

    container_id: str
    token: str
    socket: str
    function_id: str
    image_id: str
    environment: str
    spec: FunctionSpec
    app: AppLayout


class RunnerPlan(_RunnerPlan, total=False):
    """Handed to the runner as a file; what it serves. ``socket`` is the path inside the container.

    ``parameters``: values for the instance of a class, as ``wire.parameters`` writes them. ``template``: it shall be
    a template to fork others from, and say so at this socket; it has no token. ``cluster``: absent where it works by
    itself.
    """

    parameters: str
    template: str
    cluster: ClusterPlan


class ContainerExit(TypedDict, total=False):
    """Why a container ended. ``reason``: "exited" (``exit_code``), "signal" (``signal``), "oom"
    (``memory_limit``), "start_failed" (``message``), "stopped" (as asked), "lost". ``memory_peak`` and
    ``memory_limit`` in bytes, ``cpu_seconds`` of all its processes: where the machine counts them."""

    reason: str
    exit_code: int
    signal: int
    memory_peak: int
    memory_limit: int
    cpu_seconds: float
    message: str


class ContainerExec(TypedDict, total=False):
    """A stream: items are ``ExecOutput``; input goes by ``container.exec_input`` with the same ``exec_id``."""

    exec_id: str
    container_id: str
    command: list[str]
    pty: bool
    rows: int
    cols: int


class ExecInput(TypedDict, total=False):
    """Attachment 0, if any, is written to the command's stdin; ``eof`` closes it; rows/cols resize its pty."""

    exec_id: str
    eof: bool
    rows: int
    cols: int


class ExecOutput(TypedDict, total=False):
    """Attachment 0 is output of ``source`` "stdout" or "stderr"; the last item carries ``exit_code``."""

    source: str
    exit_code: int
