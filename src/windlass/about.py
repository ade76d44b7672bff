"""Apps and functions as plain data: what their ``info()``, and ``function.get_current_stats()``, return."""
from __future__ import annotations

import dataclasses
import datetime

from windlass.client import gpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from windlass.wire.messages import apps, functions, records

    N = TypeVar("N", int, float)


@dataclasses.dataclass(frozen=True)
class AppLifecycle:
    """``state``: "ephemeral", "ephemeral (detached)", "deployed", "stopping" or "stopped". ``stopped_at``: None while
    it lives."""

    state: str
    created_at: datetime.datetime
    stopped_at: datetime.datetime | None


@dataclasses.dataclass(frozen=True)
class AppInfo:
    """An app as the platform sees it.

    Attributes:
        app_id: its identity.
        description: what lists show.
        lifecycle: how it stands, and since when.
        functions: their ids by name; that of a class is ``<name>.*``.
        servers: ids of those of ``@app.server``, by name.
        name: that it was given; None where it has none.
        environment: that it lives in.
        version: how often it was published with something new; 0 where it was not deployed.
        tags: keys and values to find it by.
        containers: that exist now.
    """

    app_id: str
    description: str
    lifecycle: AppLifecycle
    functions: dict[str, str]
    servers: dict[str, str]
    name: str | None
    environment: str
    version: int
    tags: dict[str, str]
    containers: int


def app(found: apps.AppInfo) -> AppInfo:
    stopped = found["stopped_at"]
    classes = {tag for tag, part in found["parts"].items() if part.get("class_name")}
    servers = {tag: one for tag, one in found["functions"].items() if tag in classes and not tag.endswith(".*")}
    life = AppLifecycle(found["state"], _time(found["created_at"]), None if stopped is None else _time(stopped))
    return AppInfo(
        app_id=found["app_id"],
        description=found["description"],
        lifecycle=life,
        functions={tag: one for tag, one in found["functions"].items() if tag not in servers},
        servers=servers,
        name=found["name"],
        environment=found["environment"],
        version=found["version"],
        tags=found["tags"],
        containers=found["containers"],
    )


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


@dataclasses.dataclass(frozen=True)
class FunctionStats:
    """What a function is doing now.

    Attributes:
        backlog: inputs that wait for a container.
        num_total_runners: containers that exist.
        num_running_inputs: inputs that run.
        input_headroom: inputs that ready containers could take at once.
    """

    backlog: int
    num_total_runners: int
    num_running_inputs: int = 0
    input_headroom: int = 0


@dataclasses.dataclass(frozen=True)
class FunctionInfo:
    """A function as it was defined. What this platform does not have is empty.

    Attributes:
        cpu: cores that were asked for, or ``(request, limit)``; None for the default. ``memory_mib`` likewise.
        max_retries: of the retry policy; 0 where a failed input is not tried again.
        schedule: as it was written, ``Cron(...)`` or ``Period(...)``, or None.
        secrets: ids.
        method_names: of a class, what can be called; empty for functions.
        method_details: of these, "is_generator" and "is_async" by name.
    """

    @dataclasses.dataclass(frozen=True)
    class ImageInfo:
        """``image_name``: where it was published under one; not kept by function."""

        image_name: str | None
        image_id: str

    @dataclasses.dataclass(frozen=True)
    class BatchingInfo:
        max_batch_size: int
        wait_ms: int

    @dataclasses.dataclass(frozen=True)
    class ConcurrencyInfo:
        max_inputs: int
        target_inputs: int

    @dataclasses.dataclass(frozen=True)
    class ClusterInfo:
        """``fabric_size``: not known here."""

        size: int
        rdma: bool
        fabric_size: int | None

    @dataclasses.dataclass(frozen=True)
    class WebInfo:
        """Not available yet."""

        web_url: str
        method: str
        unauthenticated: bool

    cpu: float | tuple[float, float] | None
    memory_mib: int | tuple[int, int] | None
    gpus: list[str]
    ephemeral_disk_mib: int | None
    image_info: ImageInfo
    startup_timeout: float
    timeout: float
    max_retries: int
    nonpreemptible: bool
    regions: list[str]
    routing_region: str | None
    cloud: str | None
    cluster_info: ClusterInfo | None
    batching_info: BatchingInfo | None
    concurrency_info: ConcurrencyInfo | None
    schedule: str | None
    restrict_modal_access: bool
    block_network: bool
    single_use_containers: bool
    volumes: dict[str, str]
    cloud_bucket_mounts: dict[str, str]
    secrets: list[str]
    web_info: WebInfo | None
    method_names: list[str]
    method_details: dict[str, functions.MethodSpec]


def function(found: records.FunctionDetail) -> FunctionInfo:
    spec = found["spec"]
    batching, concurrency, cluster = spec.get("batching"), spec.get("concurrency"), spec.get("cluster")
    retries, methods = spec["retries"], spec.get("methods", {})
    return FunctionInfo(
        cpu=_asked(spec["cpu_request"], spec["cpu_limit"]),
        memory_mib=_asked(spec["memory_request"], spec["memory_limit"]),
        gpus=gpus.words(spec.get("gpus", [])),
        ephemeral_disk_mib=spec["ephemeral_disk"] or None,
        image_info=FunctionInfo.ImageInfo(None, spec["image_id"]),
        startup_timeout=spec["startup_timeout"],
        timeout=spec["timeout"],
        max_retries=0 if retries is None else retries["max_retries"],
        nonpreemptible=False,
        regions=[],
        routing_region=None,
        cloud=None,
        cluster_info=None if cluster is None else FunctionInfo.ClusterInfo(**cluster, fabric_size=None),
        batching_info=None if batching is None else FunctionInfo.BatchingInfo(**batching),
        concurrency_info=None if concurrency is None else FunctionInfo.ConcurrencyInfo(**concurrency),
        schedule=_schedule(spec.get("schedule")),
        restrict_modal_access=spec["restrict_access"],
        block_network=spec["block_network"],
        single_use_containers=spec["single_use"],
        volumes={},
        cloud_bucket_mounts={one["path"]: one["bucket"] for one in spec.get("buckets", [])},
        secrets=spec["secrets"],
        web_info=None,
        method_names=list(methods),
        method_details=methods,
    )


def _asked(request: N, limit: N) -> N | tuple[N, N] | None:
    """As it was written: nothing, a number, or a pair."""
    return (request, limit) if limit else request or None


def _schedule(spec: functions.ScheduleSpec | None) -> str | None:
    if spec is None:
        return None
    if "cron" in spec:
        return f"Cron({spec['cron']!r}, timezone={spec.get('timezone', 'UTC')!r})"
    return f"Period({', '.join(f'{unit}={count:g}' for unit, count in spec.get('period', {}).items())})"
