"""The arguments of ``Sandbox.create`` and ``exec``, checked before anybody is asked."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windlass import exception, options
from windlass.client import gpus, here, reach, sandboxes
from windlass.wire import reach as reach_names

MOST_TIME = 86400
_MOST_PORTS, _MOST_METADATA = 64, 512
_LATER = {
    "include_oidc_identity_token": "identity tokens",
}  # fmt: skip
_OLD = {"pty_info": "pty=True"}
_PORTS = {"encrypted_ports": "tls", "h2_ports": "h2", "unencrypted_ports": "tcp"}
_default: list[Any] = []


def wish(args: Sequence[Any], asked: Mapping[str, Any]) -> tuple[Any, ...]:
    """The parts of ``sandboxes.Wish``. Raises ``InvalidError``."""
    app = _app(asked["app"])
    _refuse(asked)
    cpu_request, cpu_limit = options._cpu(asked["cpu"])
    memory_request, memory_limit = options._memory(asked["memory"])
    spec: dict[str, Any] = {
        "command": sandboxes.words(args, "Sandbox.create()"), "workdir": sandboxes.folder(asked["workdir"]),
        "cpu_request": cpu_request, "cpu_limit": cpu_limit,
        "memory_request": memory_request, "memory_limit": memory_limit,
        "timeout": _seconds("timeout", asked["timeout"]), "block_network": bool(asked["block_network"]),
    }  # fmt: skip
    if asked["idle_timeout"] is not None:
        spec["idle_timeout"] = _seconds("idle_timeout", asked["idle_timeout"])
    if (runtime := _runtime(asked)) != "container":
        spec["runtime"] = runtime
    if asked["_experimental_enable_snapshot"]:
        spec["memory_snapshot"] = True
    for word in ("verbose", "pty"):
        if asked[word]:
            spec[word] = True
    if wanted := gpus.parse(asked["gpu"]):
        spec["gpus"] = wanted
    spec |= reach.lists(asked)
    if opened := _ports(asked):
        spec["ports"] = opened
    if asked["custom_domain"] is not None:
        spec["custom_domain"] = _domain(asked["custom_domain"])
    probe = asked["readiness_probe"]
    if probe is not None:
        if not hasattr(probe, "_spec"):
            raise exception.InvalidError(f"readiness_probe must be a Probe, not {type(probe).__name__}")
        spec["probe"] = probe._spec()
    mounted = options.volumes(asked["volumes"])
    shared = options.network_file_systems(asked["network_file_systems"], mounted)
    secrets = [*options.secrets(asked["secrets"]), *([options._env(asked["env"])] if asked["env"] else [])]
    name = "" if asked["name"] is None else sandboxes.check_name(asked["name"])
    image = options._image(asked["image"]) or _standard()
    tags, proxy = sandboxes.check_tags(asked["tags"] or {}), options.proxy(asked)
    return app, image, secrets, mounted, shared, spec, name, tags, proxy


def _app(app: Any) -> str:
    """The app that a sandbox belongs to."""
    from windlass import app as apps

    if app is None:
        if here.plan is not None:
            return here.plan["app"]["app_id"]
        raise exception.InvalidError(
            "a sandbox belongs to an app", hint='Pass app=windlass.App.lookup("name", create_if_missing=True).'
        )
    if not isinstance(app, apps.App):
        raise exception.InvalidError(f"app must be an App, not {type(app).__name__}")
    if app._app_id is None:
        raise ValueError("this app has never been run, deployed or looked up, so no sandbox can belong to it")
    return app._app_id


def _standard() -> Any:
    """The default image, made once: its id is known from then on."""
    if not _default:
        from windlass import image

        _default.append(image.Image.debian_slim())
    return _default[0]


def _refuse(asked: Mapping[str, Any]) -> None:
    for old, new in _OLD.items():
        if asked.get(old) is not None:
            raise exception.DeprecationError(f"{old}= was removed; use {new}")
    if asked["block_network"] and any(asked[name] for name in _PORTS):
        raise exception.InvalidError("block_network=True leaves no network for open ports")
    if isinstance(asked["gpu"], (list, tuple)):
        raise exception.InvalidError("a sandbox takes one kind of GPU, not a list")
    for name, what in _LATER.items():
        if asked.get(name) not in (None, False, (), [], {}):
            raise exception.UnimplementedError(f"{name}=: {what} are not supported by this version of Windlass")


def _runtime(asked: Mapping[str, Any]) -> str:
    """How it is isolated. Memory can be kept of one level alone, which is the default for whoever wants that."""
    runtime = asked["runtime"]
    if runtime not in (None, "container", "gvisor", "vm"):
        raise exception.InvalidError(f'runtime must be "container", "gvisor", "vm" or None, not {runtime!r}')
    if asked["_experimental_enable_snapshot"]:
        if runtime not in (None, "gvisor"):
            raise exception.InvalidError(f'memory snapshots need runtime="gvisor", not {runtime!r}')
        return "gvisor"
    return runtime or "container"


def _ports(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each port once, with what is spoken there."""
    found: dict[int, dict[str, Any]] = {}
    for name, kind in _PORTS.items():
        given = asked[name]
        if not isinstance(given, (list, tuple)):
            raise exception.InvalidError(f"{name} must be a list of ports, not {given!r}")
        for port in given:
            if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                raise exception.InvalidError(f"{name}: {port!r} is no port; they go from 1 to 65535")
            if port in found:
                raise exception.InvalidError(f"port {port} is named twice; it can be opened in one way only")
            found[port] = {"port": port, "kind": kind}
    if len(found) > _MOST_PORTS:
        raise exception.InvalidError(f"a sandbox may have {_MOST_PORTS} open ports, not {len(found)}")
    return list(found.values())


def _domain(given: Any) -> str:
    if not isinstance(given, str) or not (name := reach_names.plain_name(given)) or "." not in name:
        raise exception.InvalidError(f"custom_domain must be a domain such as example.org, not {given!r}")
    return name


def _seconds(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given <= MOST_TIME:
        raise exception.InvalidError(f"{name} must be between 1 and {MOST_TIME:,} seconds, not {given!r}")
    return float(given)


def execution(args: Sequence[Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the server is told of a command. Raises ``InvalidError``, or ``ValueError`` for what cannot be read so."""
    from windlass import stream_type

    if asked["pty_info"] is not None:
        raise exception.DeprecationError("pty_info= was removed; use pty=True")
    body: dict[str, Any] = {"command": sandboxes.words(args, "Sandbox.exec()")}
    if not args:
        raise exception.InvalidError("Sandbox.exec() needs a command")
    for name in ("stdout", "stderr"):
        if not isinstance(asked[name], stream_type.StreamType):
            raise exception.InvalidError(f"{name} must be a StreamType, not {asked[name]!r}")
        if asked[name] == stream_type.StreamType.DEVNULL:
            body.setdefault("discard", []).append(name)
    if asked["bufsize"] not in (-1, 1):
        raise exception.InvalidError(f"bufsize must be 1 (by line) or -1, not {asked['bufsize']!r}")
    if asked["bufsize"] == 1 and not asked["text"]:
        raise ValueError("bufsize=1 means lines, and bytes have none: leave text=True")
    if asked["workdir"] is not None:
        body["workdir"] = sandboxes.folder(asked["workdir"])
    if asked["timeout"] is not None:
        body["timeout"] = _seconds("timeout", asked["timeout"])
    if asked["pty"]:
        body["pty"] = True
    return body


async def variables(env: Any, secrets: Any, app: str) -> list[str]:
    """Ids of the secrets that hold the variables of a command."""
    from windlass.client import resolver, session

    found = [*options.secrets(secrets), *([options._env(env)] if env else [])]
    context = resolver.Context(session.current(), app_id=app)
    try:
        await context.load_all(found)
    finally:
        await context.close()
    return [secret.object_id for secret in found]


def visitor(metadata: Any, port: Any) -> dict[str, Any]:
    """What a connect token shall say. Raises ``InvalidError``."""
    import json

    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise exception.InvalidError(f"{port!r} is no port: they go from 1 to 65535")
    if metadata is None:
        return {"port": port}
    try:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise exception.InvalidError(f"user_metadata must be JSON: {exc}") from None
    if len(text) >= _MOST_METADATA:
        raise exception.InvalidError(f"user_metadata has {len(text)} characters; less than {_MOST_METADATA} fit")
    if not text.isascii() or not (text.isprintable() or not text):
        raise exception.InvalidError("user_metadata must be JSON, or printable ASCII text")
    return {"port": port, "metadata": text}
