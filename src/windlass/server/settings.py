"""The knobs of the server, read once at process start. Nobody else looks at the environment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from windlass import exception
from windlass.kit import sizes, tracing


@dataclasses.dataclass(frozen=True)
class Settings:
    """All times in seconds, all sizes in bytes unless said otherwise."""

    home: Path
    synchronous: str = "NORMAL"
    """SQLite's ``synchronous``: NORMAL survives a killed process, FULL also a power cut."""

    workspace: str = "local"
    environment: str = "main"

    web_port: int = -1
    """Where the edge listens for HTTP on loopback: 0 for any free port, -1 for no edge at all."""

    metrics: str = ""
    """HOST:PORT where figures and health are served, beside the Unix socket ``run/operations.sock``; "": nowhere."""

    traces: str = ""
    """URL that spans of calls are sent to (OTLP over HTTP, JSON): as OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere."""
    traces_headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """Sent along; of OTEL_EXPORTER_OTLP_HEADERS."""

    web_host: str = "127.0.0.1"
    """The address that the edge listens at."""
    web_url: str = ""
    """What URLs look like: nothing for ``http://<label>.localhost:<port>``, ``https`` for the same with TLS where there
    are certificates, or like ``https://*.apps.example.org`` where a proxy in front answers."""
    web_trusted: str = ""
    """Networks of proxies in front, whose ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are believed; with commas."""
    web_rate: float = 0.0
    """Requests a second that the edge takes, with a burst of ``rate_burst`` seconds' worth; 0: as many as it can."""
    web_name: str = ""
    """The host in URLs of web functions, for those who cannot resolve names of their own: the path says which one."""

    listen: str = ""
    """Where remote users are answered, ``HOST:PORT``; nothing: users of this machine alone."""
    tls: str = "own"
    """Of that port: "own" certificate, or "none" for no TLS at all."""
    tls_cert: str = ""
    """A certificate for it, and its chain, in a file; one of our own where there is none."""
    tls_key: str = ""
    """Its key, unless it lies in the same file."""
    public_host: str = ""
    """The name that remote users know this machine by."""
    remote_keep: float = 150.0
    """A remote user whose connection is lost has so long to come back before what he left open is closed."""
    remote_lines: int = 4096
    """Connections of remote users, of all together."""
    remote_lines_each: int = 512
    """And of one token."""

    tick: float = 1.0
    """Each loop looks at least so often, whether somebody woke it or not."""

    window: int = 2000
    """Queued inputs of one function kept in memory; the rest wait as rows."""

    sync_waiting: int = 2_000
    """Inputs of calls whose caller waits that may wait for a container of one function."""
    sync_total: int = 25_000
    """The same with those that run."""
    spawn_queued: int = 1_000_000
    """Inputs of spawned calls that may queue at one function."""
    map_outstanding: int = 1_000
    """Inputs of one map that may be on their way."""
    sync_rate: float = 0.0
    """Calls a second of one function whose caller waits; 0: as many as the server can take, because the limits above
    stop a loop that runs away, and the rates of a hosted platform would slow a program on its own machine down."""
    spawn_rate: float = 0.0
    """The same for spawned calls."""
    rate_burst: float = 5.0
    """Seconds' worth of calls that may come at once, where there is such a rate."""

    max_containers: int = 200
    """Containers on one node, of all functions."""
    max_sandboxes: int = 1000
    """On one node, beside its containers of functions; more wait."""
    app_sandboxes: int = 5000
    """That one app may have, those that wait with them; more are refused."""
    starting_per_cpu: int = 3
    """Containers that may be starting at once, for each processor of the node: more only wait for each other."""

    beat: float = 150.0
    """A connected runner that is silent so long is taken for dead and its container killed."""
    reconnect: float = 20.0
    """A runner whose connection is gone has so long to come back before its inputs run elsewhere."""
    worker_lost: float = 60.0
    """A worker silent so long has lost its containers."""
    stop_grace: float = 30.0
    """Between asking a container to stop and killing it."""
    cancel_grace: float = 15.0
    """Between telling a runner to stop a cancelled input and killing its container."""
    timeout_slack: float = 10.0
    """The runner enforces ``timeout``; after so much more the server kills the container."""

    terminal_patience: float = 60.0
    """A container waits so long for the user's terminal while another one has it."""

    app_silence: float = 45.0
    """An ephemeral app without a heartbeat for so long is stopped."""
    caller_gone: float = 60.0
    """A waiting call whose caller's connection is gone for so long is cancelled."""

    variant_burst: int = 1000
    """Variants of one function (sets of parameters and options) that may be made at once."""
    variant_rate: float = 1.0
    """How many more of them in each second."""

    start_failures: int = 3
    """Consecutive start failures after which an ephemeral app's pending inputs fail."""
    crash_budget: int = 3
    """Containers that may die under one input before it fails."""

    keep_sync: float = 600.0
    """Finished calls whose caller waited are forgotten after so long."""
    keep_spawn: float = 7 * 86400.0
    """Results of spawned calls are kept so long."""
    keep_failed: float = 7 * 86400.0
    """Records of attempts, and the arguments of failed inputs, which a replay needs."""
    keep_arguments: int = 64 * 1024 * 1024
    """Arguments of one failed input that are larger are not kept."""
    keep_arguments_all: int = 1024 * 1024 * 1024
    """Of all failed inputs together; the oldest go first."""
    records_per_call: int = 1000
    """Attempts that did not succeed, of one call, that have a record of their own."""
    records: int = 500_000
    """Records of all functions; the oldest go first."""
    keep_figures: float = 30 * 86400.0
    """Figures by the minute."""
    keep_usage: float = 400 * 86400.0
    """What apps had of the machines, by the hour; also of apps that are forgotten."""
    keep_logs: float = 30 * 86400.0
    """Log entries, also of apps that live on; output of image builds."""
    keep_app: float = 7 * 86400.0
    """Stopped apps, with their logs."""

    keep_audit: float = 400 * 86400.0
    """Lines of the audit log, and tokens that have ended."""
    principal_rate: float = 0.0
    """Requests a second of one principal, who came with a token; 0: as many as the server can take."""
    principal_burst: float = 5.0
    """Seconds' worth of them that may come at once, where there is such a rate."""

    keep_versions: int = 50
    """Versions of a deployed app that somebody may come back to; what was current within ``keep_failed`` stays, too,
    because a replay needs it."""

    keep_entries: float = 7 * 86400.0
    """Entries of a Dict, since they were last read or written."""
    entries_grain: float = 43200.0
    """A read is written down when the last note is so old; an entry may stay so much longer than it must."""

    keep_images: float = 30 * 86400.0
    """Images that nothing uses, since their last use."""
    keep_unknown_images: float = 86400.0
    """Images of a worker that the database does not know."""
    objects: str = ""
    """Where blobs are kept: nothing for this machine's disk, or ``s3://bucket/prefix``; ``aws`` says as whom."""
    aws: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """The variables ``AWS_…`` of the server: credentials, region, endpoint."""
    blob_cache: int = 20 * 1000**3
    """Bytes of blobs that lie on this machine's disk, too, when they are kept elsewhere; the longest unread ones go."""

    images_budget: int = 0
    """What all images together may take; the longest unused ones go. 0: 60 % of the disk."""
    bucket_endpoints: str = ""
    """Hosts, addresses and networks, with commas, that members and containers may name as endpoints of buckets though
    they lie behind this machine: its loopback, private networks, names that are known there alone. ``none``: they may
    mount no buckets at all."""
    volume_quota: int = 0
    """Bytes that the newest version of a volume may have which has no quota of its own. 0: as many as there is disk."""
    storage_quota: int = 0
    """Bytes that the newest versions of all volumes, all blobs and the database may have together. 0: no such limit."""
    volume_versions: int = 100
    """Commits of a volume that can be looked at and restored; older ones are forgotten."""
    keep_ephemeral_volumes: float = 300.0
    """Ephemeral volumes whose owner has gone silent are deleted after so long."""
    keep_uploads: float = 86400.0
    """Uploads that did not become part of a volume."""
    keep_unnamed_blobs: float = 86400.0
    """Blobs that no row names, since they came or somebody was told of them: they may be on their way into one."""
    keep_unnamed_layers: float = 900.0
    """Layers of volumes that no version names: they may be on their way into one."""
    keep_mounts: float = 7 * 86400.0
    """Files of callers that nothing uses; they are made again from blobs."""


WEB_PORT = 8640
"""Where the edge of a real server listens, if nobody else does."""

_KINDS: dict[str, tuple[Callable[[str], float], str]] = {"int": (int, "a whole number"), "float": (float, "a number")}
_SIZE = sizes.parse, "a number of bytes such as 500MB, 20GB or 10GiB"
_SIZES = frozenset({
    "keep_arguments", "keep_arguments_all", "blob_cache", "images_budget", "volume_quota", "storage_quota"
})  # fmt: skip
"""Of the whole numbers, those of bytes, which may be written as people do."""


def from_environment(home: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings with what `windlass server start --listen` noted, and the overrides of ``WINDLASS_SERVER_<NAME>``."""
    environ = os.environ if environ is None else environ
    changes: dict[str, object] = dict(remote(home))
    for field in dataclasses.fields(Settings):
        text = environ.get(f"WINDLASS_SERVER_{field.name.upper()}")
        if text is not None and field.name not in ("home", "aws", "traces_headers"):
            changes[field.name] = text if field.type == "str" else _number(field.name, str(field.type), text)
    changes.setdefault("traces", tracing.endpoint(environ))
    changes["traces_headers"] = tracing.headers(environ)
    changes["aws"] = {name: text for name, text in environ.items() if name.startswith("AWS_")}
    return dataclasses.replace(Settings(home=home, web_port=WEB_PORT), **changes)  # type: ignore[arg-type]


def _number(name: str, kind: str, text: str) -> float:
    """Raises ``InvalidError`` for what is none, with the name of the variable."""
    convert, words = _SIZE if name in _SIZES else _KINDS[kind]
    least, most = (-1, 65535) if name == "web_port" else (0, math.inf)
    with contextlib.suppress(ValueError):
        if least <= (number := convert(text)) <= most:
            return number
    bounds = f"from {least} to {most}" if most < math.inf else f"{least} or more"
    raise exception.InvalidError(
        f"WINDLASS_SERVER_{name.upper()} must be {words}, {bounds}, not {text[:80]!r}",
        hint="Correct it, or leave it out, in the environment or in server.env.",
    )


REMOTE = ("listen", "tls", "tls_cert", "tls_key", "public_host", "web_host", "web_name")


def remote(home: Path) -> dict[str, str]:
    """What was said about remote users, which holds until something else is said."""
    try:
        said = json.loads((home / "remote.json").read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise exception.InvalidError(
            f"{home / 'remote.json'} cannot be read: {exc}", hint="Say it again: `windlass server restart --listen …`."
        ) from None
    return {name: str(said[name]) for name in REMOTE if isinstance(said, dict) and said.get(name)}
