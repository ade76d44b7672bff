"""Apps, functions with their pools, containers and workers as the server handles them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from windlass.server.state import moves, records, work
from windlass.wire.messages import containers as container_messages
from windlass.wire.messages import functions as function_messages
from windlass.wire.messages import workers as worker_messages

if TYPE_CHECKING:
    from windlass.server.state import clusters, sandboxes, schedules


class App:
    """An app that has not stopped."""

    __slots__ = (
        "client",
        "created_at",
        "description",
        "dev_suffix",
        "draining",
        "environment",
        "heard_at",
        "id",
        "layout",
        "local_name",
        "message",
        "n",
        "name",
        "published",
        "reason",
        "state",
        "version",
    )

    def __init__(self, *, n: int, identity: str, name: str | None, environment: str, state: moves.AppState) -> None:
        self.n = n
        self.id = identity
        self.name = name
        self.environment = environment
        self.description = ""
        self.dev_suffix = "dev"
        """What labels of its web functions end with, while it is ephemeral."""
        self.state = state
        self.client: str | None = None
        self.published = False
        self.layout: dict[str, str] = {}
        """Function ids by tag, as published."""
        self.local_name = name
        """What the app is called in its own code; it may be deployed under another name."""
        self.version = 0
        """Of a deployed app: how often it was published with something new."""
        self.created_at = 0.0
        self.heard_at = 0.0
        self.draining = False
        """A detached app whose client has left: it stops after its last input."""
        self.reason = ""
        self.message = ""

    @property
    def alive(self) -> bool:
        return self.state < moves.AppState.STOPPING


class Function:
    """A function and its pool: the queue in front of its containers, and what is known of it."""

    __slots__ = (
        "app",
        "autoscaler",
        "broken",
        "budget",
        "clusters",
        "containers",
        "delayed",
        "failures",
        "free",
        "generation",
        "id",
        "knocked_at",
        "last_active",
        "last_failure",
        "last_start",
        "minute",
        "n",
        "not_before",
        "open_spawned",
        "open_sync",
        "overrides",
        "owes",
        "parameters",
        "pin",
        "rates",
        "ready",
        "removed",
        "rising_at",
        "rolling",
        "running",
        "sampled",
        "sampled_second",
        "seconds",
        "spec",
        "spilled",
        "startup",
        "variant_key",
        "variant_of",
        "variants",
    )

    def __init__(
        self,
        *,
        n: int,
        identity: str,
        app: App,
        spec: function_messages.FunctionSpec,
        autoscaler: function_messages.AutoscalerSpec,
    ) -> None:
        self.n = n
        self.id = identity
        self.app = app
        self.spec = spec
        self.autoscaler = autoscaler
        self.generation = 0
        """Grows with each new spec of the function: containers of an older one are to be replaced."""
        self.rolling = False
        """Whether there may be containers of an older generation that still take inputs."""
        self.removed = False
        """A later version of the app is without it."""
        self.pin: int | None = None
        """The version of the app that this pool of containers stays with."""
        self.ready: deque[work.Input] = deque()
        self.spilled = 0
        """Ready inputs that are only rows."""
        self.delayed: dict[int, work.Input] = {}
        self.running = 0
        self.open_sync = 0
        """Inputs that have not ended, of calls whose caller waits."""
        self.open_spawned = 0
        """The same of spawned calls."""
        self.rates: dict[bool, Any] = {}
        """How many calls may come now (``decide.admission.Budget``), by whether they are spawned."""
        self.containers: dict[str, Container] = {}
        self.clusters: dict[str, clusters.Cluster] = {}
        """Of a clustered function, until their last containers are gone."""
        self.free: dict[str, Container] = {}
        """Ready containers with room; the last one was used last and is the warmest."""
        self.seconds: float | None = None
        """How long an input lately ran; None before the first."""
        self.startup: float | None = None
        """How long its containers lately took to start, user code included; None before the first."""
        self.last_start = 0.0
        """When it was last given a container."""
        self.owes = 0
        """Containers that it gives up as they finish, for others who have less."""
        self.failures = 0
        self.broken = False
        """Too many starts failed: nothing is kept warm until somebody calls it again."""
        self.last_failure: tuple[bytes | None, work.Data] | None = None
        self.not_before = 0.0
        """Back-off of container starts after failures."""
        self.last_active = 0.0
        self.knocked_at = 0.0
        """When a request found no container that could take it, of a server: these do not wait."""
        self.rising_at = 0.0
        """Since when more containers are needed, 0 while they are not."""
        self.variant_of: Function | None = None
        self.variant_key = ""
        self.parameters = ""
        """Values for its class, as ``wire.parameters`` writes them."""
        self.overrides: function_messages.FunctionOverrides = {}
        self.variants: dict[str, Function] = {}
        """Of a base: its variants by ``variant_key``."""
        self.minute: records.Minute | None = None
        """Its figures of the running minute."""
        self.sampled = self.sampled_second = 0
        """Records of successes in the running second."""
        self.budget: Any = None
        """Of a base: how many variants may be made now (``decide.variants.Budget``)."""

    @property
    def queued(self) -> int:
        return len(self.ready) + self.spilled

    @property
    def tag(self) -> str:
        return self.spec["tag"]

    @property
    def farewell(self) -> str:
        """Why it cannot be called, where it was removed."""
        if self.pin is not None:
            return f"version {self.pin} of app {self.app.name!r} is too old: it is not kept any more"
        if self.variant_of is not None and not self.variant_of.removed:
            return f"class {self.tag.removesuffix('.*')!r} of app {self.app.name!r} has other parameters now"
        return f"function {self.tag!r} was removed from app {self.app.name!r}"


class Container:
    """A container from the decision to start it until it is reported gone."""

    __slots__ = (
        "cluster",
        "created_at",
        "deadline",
        "direct",
        "draining_why",
        "failed",
        "function",
        "generation",
        "gpus",
        "held",
        "id",
        "idle_since",
        "kill_at",
        "log_offset",
        "lost_at",
        "made_at",
        "n",
        "node",
        "peer",
        "phases",
        "rank",
        "sandbox",
        "seen_at",
        "served",
        "slots",
        "spec",
        "started_at",
        "state",
        "want",
    )

    def __init__(self, *, n: int, identity: str, function: Function, node: str, created_at: float) -> None:
        self.n = n
        self.id = identity
        self.function = function
        self.generation = function.generation
        self.spec = function.spec
        """What it was made from; that of its function may be newer."""
        self.node = node
        self.state = moves.ContainerState.PENDING
        self.created_at = created_at
        self.made_at: float | None = None
        """When its process began."""
        self.started_at: float | None = None
        """When it was ready for its first input."""
        self.phases: dict[str, float] = {}
        """Seconds of "import" and "enter", as its runner says."""
        self.idle_since = created_at
        self.seen_at = created_at
        """When the runner was last heard."""
        self.lost_at: float | None = None
        """Since when its runner has no connection, after having had one."""
        self.kill_at: float | None = None
        """When patience with a stopping container ends."""
        self.held: dict[str, work.Input] = {}
        self.peer: Any = None
        self.direct: Any = None
        """Takes leases of web requests (``ingress.carriers``), where the runner wants them that way."""
        self.want = "run"
        self.failed: tuple[bytes | None, work.Data] | None = None
        """What the runner said about why the user's code did not start."""
        self.draining_why = ""
        self.served = 0
        self.slots: int | None = None
        """How many inputs, or batches, its code wants at once; None where it leaves that to its function."""
        self.log_offset = 0
        self.gpus: tuple[str, ...] = ()
        """Devices that are its own until it is gone."""
        self.cluster: clusters.Cluster | None = None
        self.rank = 0
        """Its place in the cluster."""
        self.sandbox: sandboxes.Sandbox | None = None
        """What it is, where it runs a user's command and not our runner."""

    @property
    def alive(self) -> bool:
        return self.state < moves.ContainerState.GONE

    @property
    def starting(self) -> bool:
        return self.state < moves.ContainerState.READY

    @property
    def outdated(self) -> bool:
        """Whether its function has a newer spec."""
        return self.generation != self.function.generation


class Worker:
    """A connected worker and the node it speaks for."""

    __slots__ = (
        "cpus", "gaps", "gpus", "has_templates", "images", "levels", "memory", "node", "peer", "runtime", "seen_at",
        "templates", "uplink",
    )  # fmt: skip

    def __init__(self, node: str, peer: Any, hello: worker_messages.WorkerHello) -> None:
        self.node = node
        self.peer = peer
        self.cpus = float(hello.get("cpus", 1.0))
        self.memory = int(hello.get("memory", 0))
        self.runtime = hello.get("runtime", "")
        self.gaps = list(hello.get("gaps", []))
        self.levels = dict(hello.get("levels", {}))
        self.uplink = hello.get("uplink", "")
        self.gpus = list(hello.get("gpus", []))
        self.images = set(hello.get("images", []))
        self.seen_at = 0.0
        self.has_templates = True
        """Whether it may have some that it was told of."""
        self.templates: list[str] = []
        """Functions of those that it has."""


class Build:
    """One layer being made, and everybody who waits for it."""

    __slots__ = (
        "gpus", "id", "image_id", "kept", "key", "node", "parent", "planned", "recipe", "replaces", "waiters",
        "wanted_at",
    )  # fmt: skip

    def __init__(
        self, *, identity: str, image_id: str, key: str, parent: str | None, recipe: Any, replaces: bool = True
    ) -> None:
        self.id = identity
        self.image_id = image_id
        self.key = key
        self.parent = parent
        self.recipe = recipe
        self.replaces = replaces
        """Whether its key shall mean the result."""
        self.planned = False
        """Whether a worker has begun with it."""
        self.kept: Any = None
        """Which of its output is kept."""
        self.waiters: list[Any] = []
        self.wanted_at = 0.0
        self.gpus: tuple[str, ...] = ()
        """Devices that its step has, of the machine ``node``."""
        self.node = ""


class Ending(NamedTuple):
    """How waiting inputs end that never run."""

    status: moves.Status
    body: bytes | None
    data: work.Data


class World:
    """Everything the server holds in memory, by id."""

    def __init__(self) -> None:
        self.apps: dict[str, App] = {}
        self.functions: dict[str, Function] = {}
        self.functions_by_n: dict[int, Function] = {}
        self.calls: dict[str, work.Call] = {}
        """By ``call_part``."""
        self.calls_by_n: dict[int, work.Call] = {}
        self.containers: dict[str, Container] = {}
        self.workers: dict[str, Worker] = {}
        self.lost_nodes: dict[str, float] = {}
        """Since when a node's worker has no connection."""
        self.builds: dict[str, Build] = {}
        self.clients: dict[str, int] = {}
        """Open connections of each client."""
        self.remote: set[str] = set()
        """Clients on other machines: a network that is cut for a while does not end what they run."""
        self.gone: dict[str, float] = {}
        """Since when a client has no connection."""
        self.cancelling: dict[int, work.Call] = {}
        """Cancelled calls that still have queued rows."""
        self.emptying: dict[int, tuple[Function, Ending]] = {}
        """Functions that still have queued rows which shall not run."""
        self.schedules: dict[int, schedules.Entry] = {}
        """Functions that run by themselves, by number."""
        self.sandboxes: dict[str, sandboxes.Sandbox] = {}
        """Those that have not ended, in the order of their creation."""
        self.pools: dict[str, Function] = {}
        """What sandboxes are containers of, by app."""

    def app_of(self, container: Container) -> App:
        return container.function.app


Exit = container_messages.ContainerExit
