"""Functions: the immutable description, and what is asked of them."""
from __future__ import annotations

from typing import TypedDict


class RetrySpec(TypedDict):
    """Seconds and factors of ``windlass.Retries``."""

    max_retries: int
    backoff_coefficient: float
    initial_delay: float
    max_delay: float


class AutoscalerSpec(TypedDict):
    """``max_containers`` 0 means no ceiling of its own. ``scaledown_window`` in seconds."""

    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float


class FunctionSpec(TypedDict):
    """Everything a function is, as stored and as handed to its containers. Never changed once created.

    ``definition``: "file" (``module`` is the stem of a script), "package" (dotted ``module``) or
    "serialized" (``serialized`` is the blob of the cloudpickled function). ``qualname`` finds the raw
    function in the module. ``mounts`` are digests of mount manifests (blobs; see ``images.MountManifest``),
    stacked in order over the image. ``cpu_*`` in cores, ``memory_*`` in MiB; a limit of 0 means none asked.
    ``timeout`` and ``startup_timeout`` in seconds. ``python`` is the caller's "major.minor".
    """

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


class FunctionInfo(TypedDict):
    """What a handle needs to know of its function."""

    function_id: str
    app_id: str
    tag: str
    is_generator: bool


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
