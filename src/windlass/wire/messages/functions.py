"""Functions: the immutable description, and what is asked of them."""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.buckets import BucketMount
from windlass.wire.messages.nfs import NfsMount
from windlass.wire.messages.volumes import VolumeMount


class RetrySpec(TypedDict):
    """Seconds and factors of ``windlass.Retries``."""

    max_retries: int
    backoff_coefficient: float
    initial_delay: float
    max_delay: float


class _AutoscalerSpec(TypedDict):
    """The part of ``AutoscalerSpec`` that each function has."""

    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float


class AutoscalerSpec(_AutoscalerSpec, total=False):
    """``max_containers`` 0 means no ceiling of its own. Windows in seconds.

    ``target_concurrency``, in the place of what ``concurrency`` says, and ``scaleup_window``, for which more must be
    needed before more are started, are there for servers.
    """

    target_concurrency: int
    scaleup_window: float


class ConcurrencySpec(TypedDict):
    """A container takes up to ``max_inputs`` at once; ``target_inputs`` is what the autoscaler reckons with."""

    max_inputs: int
    target_inputs: int


class BatchingSpec(TypedDict):
    """Inputs are gathered until there are ``max_batch_size``, or ``wait_ms`` after the first one was taken."""

    max_batch_size: int
    wait_ms: int


class ClusterSpec(TypedDict):
    """``size`` containers run each input together; ``rdma``: they want devices for it."""

    size: int
    rdma: bool


class ScheduleSpec(TypedDict, total=False):
    """When a function runs by itself: ``cron`` and ``timezone``, or ``period`` (count by unit, as in ``Period``)."""

    cron: str
    timezone: str
    period: dict[str, float]


class _WebSpec(TypedDict):
    """The part of ``WebSpec`` that each web function has."""

    kind: str
    label: str
    custom_domains: list[str]
    requires_proxy_auth: bool


class WebSpec(_WebSpec, total=False):
    """How a function answers HTTP requests instead of calls.

    ``kind``: "fastapi" (with ``method`` and ``docs``), "asgi", "wsgi" or "server" (with ``port`` and
    ``startup_timeout``). ``label`` is "" where the name of app and function makes it.
    ``stateless``: a Server (``@app.server``): its requests do not wait for containers, and those of one session go to
    one container. ``grace``: seconds that its requests may go on when a container shall end.
    """

    method: str
    docs: bool
    port: int
    startup_timeout: float
    stateless: bool
    grace: float


class MethodSpec(TypedDict, total=False):
    """One method of a class that can be called, or that answers requests (``web``). A missing key means False."""

    is_generator: bool
    is_async: bool
    web: WebSpec


class ParameterSpec(TypedDict, total=False):
    """One parameter of a class, in the order of declaration. ``name`` and ``type`` are always present.

    ``type``: "str", "int", "bool" or "bytes". ``default`` is there with ``has_default``, written as
    ``wire.parameters`` writes values.
    """

    name: str
    type: str
    has_default: bool
    default: str


class GpuSpec(TypedDict):
    """``count`` GPUs of one ``kind``, in capitals; ``ANY`` is any kind, ``H100!`` no better one."""

    kind: str
    count: int


class _FunctionSpec(TypedDict):
    """The part of ``FunctionSpec`` that each function has."""

    tag: str
    module: str
    qualname: str
    definition: str
    serialized: str | None
    is_generator: bool
    is_async: bool
    python: str
    image_id: str
    mounts: list[str]
    secrets: list[str]
    cpu_request: float
    cpu_limit: float
    memory_request: int
    memory_limit: int
    ephemeral_disk: int
    timeout: float
    startup_timeout: float
    retries: RetrySpec | None
    autoscaler: AutoscalerSpec
    single_use: bool
    block_network: bool
    restrict_access: bool



class FunctionSpec(_FunctionSpec, total=False):
    """Everything a function is, as stored and as handed to its containers. Never changed once created.

    ``definition``: "file" (``module`` is the stem of a script), "package" (dotted ``module``) or
    "serialized" (``serialized`` is the blob of the cloudpickled function). ``qualname`` finds the raw
    function in the module. ``mounts`` are digests of mount manifests (blobs; see ``images.MountManifest``),
    stacked in order over the image. ``cpu_*`` in cores, ``memory_*`` in MiB; a limit of 0 means none asked.
    ``timeout`` and ``startup_timeout`` in seconds. ``python`` is the caller's "major.minor".

    A class is one function of tag ``<class_name>.*`` that serves all ``methods``; ``qualname`` finds the class.
    ``parameters`` are those of its constructor. ``class_name`` is absent or "" for plain functions. ``snapshot``: its
    containers may be forked from a warm one (``enable_memory_snapshot``); absent means no.

    Without ``concurrency`` a container takes one input at a time, or with ``batching`` one batch; with both,
    ``max_inputs`` counts batches.
    ``schedule`` is absent for what only runs when it is called. Such a function needs no arguments.
    ``gpus`` are alternatives, the best first; absent or empty means none.
    ``web``: it answers requests; of a class its methods say so.
    ``outbound_cidrs``, ``outbound_domains``: all that its containers may reach (``wire.reach``); with neither, the
    public internet. ``proxy``: id of the one that they leave by. ``i6pn``: they have addresses of a private network, by
    which those of the app reach each other. ``cluster``: containers are started, leased to and ended in clusters, which
    needs ``i6pn``.
    """

    class_name: str
    methods: dict[str, MethodSpec]
    parameters: list[ParameterSpec]
    concurrency: ConcurrencySpec
    batching: BatchingSpec
    schedule: ScheduleSpec
    snapshot: bool
    volumes: list[VolumeMount]
    buckets: list[BucketMount]
    nfs: list[NfsMount]
    gpus: list[GpuSpec]
    web: WebSpec
    outbound_cidrs: list[str]
    outbound_domains: list[str]
    proxy: str
    i6pn: bool
    cluster: ClusterSpec


class FunctionCreate(TypedDict):
    """Idempotent in ``function_id``, which the client chooses."""

    app_id: str
    function_id: str
    spec: FunctionSpec


class FunctionRef(TypedDict):
    function_id: str


class FunctionGet(TypedDict, total=False):
    """By id, or by app name and tag (deployed apps only). ``version``: in containers that stay with this version."""

    function_id: str
    app_name: str
    tag: str
    environment: str
    version: int | None


class _FunctionInfo(TypedDict):
    """The part of ``FunctionInfo`` that each function has."""

    function_id: str
    app_id: str
    tag: str
    is_generator: bool


class FunctionInfo(_FunctionInfo, total=False):
    """What a handle needs to know of its function. The rest is there for classes, as in ``FunctionSpec``.

    ``variant_of``: id of the function that this one is a variant of. ``web_urls``: where it answers requests, by
    method; "" for functions.
    """

    class_name: str
    methods: dict[str, MethodSpec]
    parameters: list[ParameterSpec]
    variant_of: str
    web_urls: dict[str, str]


class FunctionOverrides(TypedDict, total=False):
    """What a variant has other than its base, in the words of ``FunctionSpec`` and ``AutoscalerSpec``.

    ``secrets`` replace those of the base; ``more_secrets`` are added. ``concurrency`` and ``batching`` replace whole.
    ``min_containers`` can be neither overridden nor inherited.
    """

    cpu_request: float
    cpu_limit: float
    memory_request: int
    memory_limit: int
    timeout: float
    retries: RetrySpec | None
    secrets: list[str]
    more_secrets: list[str]
    max_containers: int
    buffer_containers: int
    scaledown_window: float
    concurrency: ConcurrencySpec
    batching: BatchingSpec
    volumes: list[VolumeMount]
    buckets: list[BucketMount]
    gpus: list[GpuSpec]


class FunctionBind(TypedDict, total=False):
    """The variant of ``function_id`` with these values of its class's parameters and these overrides.

    Answered with the ``FunctionInfo`` of a function that has its own pool: the same one whenever, and from wherever,
    the same is asked for. Without parameters and overrides that is the function itself. ``parameters`` is what
    ``wire.parameters.encode`` writes. A variant may be bound again: what is given here comes on top.
    """

    function_id: str
    parameters: str
    overrides: FunctionOverrides


class FunctionStats(TypedDict):
    """``headroom``: inputs that ready containers could take at once."""

    backlog: int
    num_total_runners: int
    num_running_inputs: int
    input_headroom: int


class AutoscalerUpdate(TypedDict, total=False):
    """Present keys override until the next deploy."""

    function_id: str
    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float
    target_concurrency: int
    scaleup_window: float
