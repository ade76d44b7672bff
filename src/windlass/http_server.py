"""``Server``: the handle that ``@app.server`` puts in the place of a class whose hooks start a program at a port.

On the server it is a web function of kind "server" whose requests do not wait: a container that is ready answers at
once, else the edge does, with 503. Its one function serves no calls.
"""
from __future__ import annotations

import dataclasses

from windlass import exception, function, options
from windlass.client import anatomy, faces, handle, partial, source, web
from windlass.client import gpus as gpu_words
from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping
    from typing import Any

    from windlass import about, autoscaler
    from windlass.app import App
    from windlass.client import figures, logs, metrics
    from windlass.wire.messages import functions, records

MANY = 1000
"""Requests that a container takes at once where nobody says."""
_MOST_SECONDS = 3600


@dataclasses.dataclass(frozen=True)
class ServerInfo:
    """A server as it was defined. What this platform does not have is empty.

    Attributes:
        server_url: where it answers.
        unauthenticated: whether it answers without a proxy token.
        sessioned: whether clients must begin sessions; they never must.
        cpu: cores that were asked for, or ``(request, limit)``; None for the default. ``memory_mib`` likewise.
        secrets: ids.
    """

    @dataclasses.dataclass(frozen=True)
    class ImageInfo:
        """``image_name``: where it was published under one; not kept by server."""

        image_name: str | None
        image_id: str

    @dataclasses.dataclass(frozen=True)
    class ClusterInfo:
        """Not available."""

        size: int
        rdma: bool
        fabric_size: int | None

    server_url: str | None
    port: int
    unauthenticated: bool
    h2_enabled: bool
    routing_region: str | None
    sessioned: bool
    startup_timeout: float
    exit_grace_period: float
    image_info: ImageInfo
    cpu: float | tuple[float, float] | None
    memory_mib: int | tuple[int, int] | None
    gpus: list[str]
    ephemeral_disk_mib: int | None
    nonpreemptible: bool
    compute_regions: list[str]
    cloud: str | None
    cluster_info: ClusterInfo | None
    volumes: dict[str, str]
    cloud_bucket_mounts: dict[str, str]
    secrets: list[str]


class Server(handle.Handle):
    """A class whose ``@enter`` hooks start an HTTP server in each container. Made by ``@app.server()``, or looked up
    with ``Server.from_name``.

    Requests with the same ``Modal-Session-ID`` header go to the same container while it lives.

    Example:
        >>> @app.server(port=8000, unauthenticated=True, target_concurrency=20)
        ... class Files:
        ...     @windlass.enter()
        ...     def start(self):
        ...         import subprocess
        ...         subprocess.Popen(["python3", "-m", "http.server", "8000"])
        >>> Files.get_url()
        'http://local--files-files.localhost:8640'
    """

    _service: function.Function[..., Any, Any]

    @staticmethod
    def from_name(
        app_name: str, name: str, *, environment_name: str | None = None, client: object = None
    ) -> Server:
        """A server of a deployed app, looked up when it is first used.

        Example:
            >>> windlass.Server.from_name("files", "Files").get_url()

        Raises:
            InvalidError: a name is wrong.
        """
        return _with_service(function._deployed(app_name, name, None, environment_name))

    @staticmethod
    def from_id(server_id: str, *, client: object = None) -> Server:
        """The server with that id, looked up when it is first used."""
        return _with_service(function.Function.from_id(server_id))

    @faces.method
    async def get_url(self) -> str | None:
        """Where it answers; None where the platform has no web edge."""
        return await _url(await self._ready())

    @faces.method
    async def info(self, *, refresh: bool = False) -> ServerInfo:
        """What it was defined with, asked for each time. ``refresh`` is accepted for compatibility."""
        from windlass.client import session

        identity = await self._ready()
        detail = (await session.current().request("function.info", {"function_id": identity})).body
        return _info(detail, await _url(identity))

    @property
    def logs(self) -> logs.Logs:
        """What its containers print: ``fetch``, ``tail`` and ``stream``."""
        from windlass.client import logs

        return logs.of_function(self._ready)

    @faces.method
    async def stats(
        self,
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        container: str | None = None,
    ) -> figures.Stats:
        """How its requests fared; in the last hour unless ``since`` or ``until`` is given.

        Raises:
            InvalidError: the range spans more than 7 days or began more than 30 days ago.
        """
        from windlass.client import figures

        return await figures.of_function(await self._ready(), since, until, container=container)

    @property
    def autoscaler(self) -> autoscaler.Autoscaler:
        """The bounds of its containers: ``settings`` and ``update``."""
        from windlass import autoscaler

        return autoscaler.Autoscaler(self._ready)

    @faces.method
    async def update_autoscaler(
        self,
        *,
        target_concurrency: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaleup_window: int | None = None,
        scaledown_window: int | None = None,
    ) -> functions.AutoscalerSpec:
        """Change the autoscaler until the next deploy. What is left out stays; returns what holds now.

        Raises:
            InvalidError: a number is wrong, or the bounds contradict each other.
        """
        from windlass import autoscaler

        asked: dict[str, Any] = {}
        if target_concurrency is not None:
            asked["target_concurrency"] = _count("target_concurrency", target_concurrency)
        if scaleup_window is not None:
            asked["scaleup_window"] = _seconds("scaleup_window", scaleup_window)
        return await autoscaler.override(
            self._ready, asked, min_containers=min_containers, max_containers=max_containers,
            buffer_containers=buffer_containers, scaledown_window=scaledown_window,
        )  # fmt: skip

    @property
    def metrics(self) -> metrics.Metrics:
        """Its figures: ``current`` for the requests and containers that it has now, ``fetch`` for how requests fared
        in a span of time.

        Example:
            >>> Files.metrics.current().num_total_runners
            1
        """
        from windlass.client import metrics

        return metrics.Metrics(self._current, self.stats.aio)

    async def _current(self) -> about.FunctionStats:
        return await function.Function.from_id(await self._ready()).get_current_stats.aio()

    @property
    def sessions(self) -> Any:
        """Sessions that clients begin and end are not available: ``Modal-Session-ID`` keeps a client at one container.

        Raises:
            UnimplementedError: always.
        """
        raise exception.UnimplementedError(
            "Server.sessions is not available",
            hint="Send the header Modal-Session-ID: requests with the same one go to the same container.",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self._user_cls is None:
            raise AttributeError(name)
        return getattr(self._user_cls, name)

    def _describe(self) -> str:
        return f"Server {self._service._tag!r}"

    def __reduce__(self) -> Any:
        return _with_service, (self._service,)


def described(app: App, decorated: Any, asked: Mapping[str, Any]) -> tuple[Server, function.Function[..., Any, Any]]:
    """What ``@app.server`` makes of a class, and the function that serves it, not yet registered.

    Raises ``InvalidError``, or ``TypeError`` where no class was decorated.
    """
    if isinstance(decorated, objects.Object):
        raise exception.InvalidError("@app.server must be the outermost decorator, and there only once")
    user_cls, marks = partial.taken(decorated)
    source.check_class(user_cls, serialized=asked["serialized"], decorator="server")
    if marks:
        named = {"batching": "batched", "cluster": "clustered"}.get(next(iter(marks)), "concurrent")
        raise exception.InvalidError(
            f"@{named} has no place on a server",
            hint="Say target_concurrency= and max_concurrency= to @app.server.",
        )
    found = _checked(anatomy.read(user_cls), user_cls.__name__, snapshot=asked["enable_memory_snapshot"])
    tag = asked["name"] if asked["name"] is not None else user_cls.__name__
    chosen = _options(app, asked)
    origin = source.Source(user_cls, serialized=asked["serialized"], is_generator=False)
    service = function.Function._describing(app, tag, origin, chosen)
    service._anatomy = found
    service._asked = {"concurrency": _concurrency(asked), "web": _web(asked)}
    service._class_info = {"class_name": user_cls.__name__, "methods": {}, "parameters": []}
    server = _with_service(service)
    server._user_cls = user_cls
    return server, service


def _checked(found: anatomy.Anatomy, name: str, *, snapshot: bool) -> anatomy.Anatomy:
    if found.methods:
        raise exception.InvalidError(
            f"{name!r} is a server: nobody calls its method {next(iter(found.methods))!r}",
            hint="Leave the decorator out, or put such methods into a class with @app.cls().",
        )
    if found.parameters:
        raise exception.InvalidError(f"{name!r} is a server, which takes no parameters", hint="Make several servers.")
    if not found.enter and not found.snap_enter:
        raise exception.InvalidError(
            f"{name!r} has no hook that starts its program", hint="Start it in a method with @windlass.enter()."
        )
    if found.snap_enter and not snapshot:
        raise exception.InvalidError(
            f"{name!r} has hooks with snap=True, but no memory snapshot",
            hint="Write @app.server(enable_memory_snapshot=True).",
        )
    return found


def _options(app: App, asked: Mapping[str, Any]) -> options.Options:
    if asked["h2_enabled"]:
        raise exception.UnimplementedError(
            "h2_enabled=: programs are asked by HTTP/1.1", hint="Put Caddy or nginx in front for HTTP/2 to clients."
        )
    plain = {**asked, "region": asked["compute_region"], "timeout": options.MAX_TIMEOUT}
    chosen = app._options_of(plain)
    chosen.autoscaler["target_concurrency"] = _concurrency(asked)["target_inputs"]
    window = asked["scaleup_window"]
    chosen.autoscaler["scaleup_window"] = 0.0 if window is None else _seconds("scaleup_window", window)
    return chosen


def _concurrency(asked: Mapping[str, Any]) -> functions.ConcurrencySpec:
    target, most = asked["target_concurrency"], asked["max_concurrency"]
    if target is not None:
        _count("target_concurrency", target)
    if most is not None:
        _count("max_concurrency", most)
    if target is not None and most is not None and target > most:
        raise exception.InvalidError(f"target_concurrency ({target}) is more than max_concurrency ({most})")
    most = most or max(MANY, target or 0)
    return {"max_inputs": most, "target_inputs": target or most}


def _web(asked: Mapping[str, Any]) -> functions.WebSpec:
    if not isinstance(asked["unauthenticated"], bool):
        raise exception.InvalidError(f"unauthenticated must be True or False, not {asked['unauthenticated']!r}")
    return web.spec(
        "server", label=None, custom_domains=None, requires_proxy_auth=not asked["unauthenticated"],
        port=web.port(asked["port"]), startup_timeout=web.startup_timeout(asked["startup_timeout"]),
        stateless=True, grace=_seconds("exit_grace_period", asked["exit_grace_period"]),
    )  # fmt: skip


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= options.MAX_INPUTS:
        raise exception.InvalidError(f"{name} must be an integer from 1 to {options.MAX_INPUTS:,}, not {value!r}")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST_SECONDS:
        raise exception.InvalidError(f"{name} must be between 0 and {_MOST_SECONDS} seconds, not {value!r}")
    return float(value)


def _with_service(service: function.Function[..., Any, Any]) -> Server:
    return Server._over(service)


async def _url(identity: str) -> str | None:
    from windlass.client import web_urls

    return (await web_urls.of(identity)).get("")


def _info(detail: records.FunctionDetail, url: str | None) -> ServerInfo:
    spec = detail["spec"]
    web_spec = spec.get("web")
    if web_spec is None or not web_spec.get("stateless"):
        raise exception.InvalidError(f"{spec['tag']!r} is no server", hint="Look it up with Function or Cls.")
    return ServerInfo(
        server_url=url,
        port=web_spec["port"],
        unauthenticated=not web_spec["requires_proxy_auth"],
        h2_enabled=False,
        routing_region=None,
        sessioned=False,
        startup_timeout=web_spec["startup_timeout"],
        exit_grace_period=web_spec.get("grace", 0.0),
        image_info=ServerInfo.ImageInfo(None, spec["image_id"]),
        cpu=_asked(spec["cpu_request"], spec["cpu_limit"]),
        memory_mib=_asked(spec["memory_request"], spec["memory_limit"]),
        gpus=gpu_words.words(spec.get("gpus", [])),
        ephemeral_disk_mib=spec["ephemeral_disk"] or None,
        nonpreemptible=False,
        compute_regions=[],
        cloud=None,
        cluster_info=None,
        volumes={},
        cloud_bucket_mounts={one["path"]: one["bucket"] for one in spec.get("buckets", [])},
        secrets=spec["secrets"],
    )


def _asked(request: Any, limit: Any) -> Any:
    """As it was written: nothing, a number, or a pair."""
    return (request, limit) if limit else request or None
