"""What people ask about functions and calls afterwards: descriptions, figures, records, arguments for a replay."""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.common import Payload
from windlass.wire.messages.containers import ContainerExit, ContainerInfo
from windlass.wire.messages.functions import AutoscalerSpec, FunctionOverrides, FunctionSpec
from windlass.wire.messages.images import Recipe


class FunctionDetail(TypedDict):
    """``live``: its app has not stopped. ``image``: its steps, base first. ``variants``: ids of those it has now."""

    function_id: str
    app_id: str
    app_name: str
    tag: str
    live: bool
    spec: FunctionSpec
    autoscaler: AutoscalerSpec
    image: list[Recipe]
    variant_of: str | None
    parameters: str
    variants: list[str]
    containers: list[ContainerInfo]
    backlog: int
    running: int


class FiguresQuery(TypedDict, total=False):
    """Of a function, or of a whole app, from ``since`` to ``until`` (seconds since the epoch, whole minutes). Variants
    count as well unless ``variants`` is False."""

    function_id: str
    app_id: str
    since: float
    until: float
    variants: bool


class Spread(TypedDict):
    """Seconds; None when there was nothing."""

    p50: float | None
    p99: float | None


class Figures(TypedDict):
    """``inputs`` that ended, ``failures`` among them; ``retries``: attempts that failed and were tried again.

    ``queue``, ``start`` (only of inputs that waited for a container to start) and ``run``: times of attempts.
    ``containers``: how many were started; ``make``, ``load`` and ``enter``: where their start-up time went: from the
    decision to the process, from there to the imported code, the ``enter`` hooks. ``memory_peak`` in bytes.
    """

    inputs: int
    failures: int
    retries: int
    cancelled: int
    crashes: int
    queue: Spread
    start: Spread
    run: Spread
    cpu_seconds: float
    memory_peak: int
    containers: int
    make: Spread
    load: Spread
    enter: Spread


class RecordQuery(TypedDict, total=False):
    """The newest records, of a call (then in order), of a function, of an app, or else of an environment.

    ``failed``: only failures.
    """

    call_id: str
    function_id: str
    app_id: str
    environment: str
    failed: bool
    limit: int


class AttemptRecord(TypedDict):
    """One attempt at an input.

    ``status`` as in ``calls.Output``, or "returned": given back because its container was stopped or lost. ``final``:
    no other attempt follows. ``queue_seconds``, ``start_seconds`` and ``run_seconds`` add up to its life.
    ``cpu_seconds`` and ``memory_peak`` are None where the input was too short to be measured. ``exit``: how its
    container ended, if it has. ``replayable``: its arguments are kept.
    """

    call_id: str
    input_id: str
    index: int
    attempt: int
    app_id: str
    app_name: str
    function_id: str
    function: str
    kind: str
    status: str
    final: bool
    container_id: str | None
    queue_seconds: float
    start_seconds: float
    run_seconds: float
    cpu_seconds: float | None
    memory_peak: int | None
    ended_at: float
    reason: str
    exit: ContainerExit | None
    replayable: bool


class RecordReply(TypedDict):
    records: list[AttemptRecord]


class InputQuery(TypedDict, total=False):
    call_id: str
    index: int


class AppCopy(TypedDict):
    """What it takes to make an app of the same functions: specs by tag. ``environment`` is that of the original."""

    name: str
    environment: str
    functions: dict[str, FunctionSpec]


class RecordedInput(TypedDict):
    """An input as it was: what was called, with which arguments, in which code.

    ``tag`` is the function's in ``app``; a variant is that function with ``parameters`` and ``overrides``.
    ``lost_secrets``: ids of secrets that were deleted with their app.
    """

    call_id: str
    index: int
    tag: str
    method: str
    status: str
    arguments: Payload
    app: AppCopy
    parameters: str
    overrides: FunctionOverrides
    lost_secrets: list[str]
