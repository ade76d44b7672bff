"""What a request is about: the environments of all that it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import calls as call_actions
from windlass.server.apply import core as core_module
from windlass.server.apply import environments as environment_actions
from windlass.server.apply import identity as identity_actions
from windlass.server.decide import rights
from windlass.server.store import apps, collections, images, nfs, proxies, records, sandboxes, secrets, volumes
from windlass.wire.messages import methods

Core = core_module.Core
Named = tuple[tuple[str, str], str]
"""((kind, id or name), environment)."""

LISTS = {
    "app.list": "apps",
    "billing.report": "rows",
    "call.graph": "nodes",
    "call.records": "records",
    "container.list": "containers",
    "environment.list": "environments",
    "image.list": "images",
    "sandbox.list": "sandboxes",
}
"""Answers that are cut to what one may see, where the question names no environment."""

_NAMING: dict[str, tuple[str, ...]] = {
    "call.run": ("call_id", "function_id"), "call.create": ("call_id", "function_id"),
    "call.put": ("call_id",), "call.outputs": ("call_id",),
}  # fmt: skip
"""Requests that come with each input: by which keys they name things. All else in them is no name to anybody."""

_MAKING = frozenset({"app.create", "app.deploy", "volume.fork"})
"""Requests that make something where they say, whatever ids they name."""

_TEXTS = frozenset({"env", "tags", "metadata"})
"""Keys with what users wrote."""
_DEEP = 8
_STEPS = 500  # steps of an image


def environments(core: Core, method: str, body: Any) -> list[Named]:
    """((kind, id or name), environment) of all that it names, and of where it looks when it names nothing."""
    if method == "environment.roles":
        return [(("environment", body["name"]), body["name"])]
    found: list[Named] = []
    seen: set[str] = set()
    if (names := _NAMING.get(method)) is not None:
        for key in names:
            if key in body:
                _note(core, body[key], found, seen)
        return found
    for key, value in body.items():
        if isinstance(value, str) and (key.endswith("_id") or key in ("id", "app")):
            _note(core, value, found, seen)
    by_id = bool(found or body.get("image_id")) and not (body.get("name") or body.get("app_name") or method in _MAKING)
    _walk(core, body, found, seen, 0)
    if "environment" in getattr(methods.METHODS[method].request, "__annotations__", ()):
        if name := body.get("environment"):
            found.append((("environment", name), name))
        elif not by_id and method not in LISTS:
            name = environment_actions.default(core)
            found.append((("environment", name), name))
    return found


def _walk(core: Core, value: Any, found: list[Named], seen: set[str], depth: int) -> None:
    """Ids anywhere in the request: of a secret that a spec wants as well as of a volume that it mounts."""
    if isinstance(value, str):
        _note(core, value, found, seen)
    elif isinstance(value, list) and depth < _DEEP:
        for one in value:
            _walk(core, one, found, seen, depth + 1)
    elif isinstance(value, dict) and depth < _DEEP:
        for key, one in value.items():
            if key not in _TEXTS:
                _walk(core, one, found, seen, depth + 1)
        if isinstance(functions := value.get("functions"), dict):  # by tag, which may be one of those words
            for one in functions.values():
                _walk(core, one, found, seen, depth + 2)


def _note(core: Core, text: str, found: list[Named], seen: set[str]) -> None:
    """Each id once: where it belongs may be a question to the database."""
    if len(text) != ids.LENGTH + 3 or text in seen or (known := _KINDS.get(text[:3])) is None:
        return
    seen.add(text)
    kind, where = known
    environment = where(core, text)
    if environment is not None:
        found.append(((kind, text), environment))


def of_app(core: Core, identity: str) -> str | None:
    app = core.world.apps.get(identity)
    if app is not None:
        return app.environment
    row = apps.by_id(core.db, identity)
    return None if row is None else row.environment


def _of_function(core: Core, identity: str) -> str | None:
    function = core.world.functions.get(identity)
    if function is not None:
        return function.app.environment
    row = apps.function_by_id(core.db, identity)
    return None if row is None else of_app(core, row.app_id)


def _of_cluster(core: Core, identity: str) -> str | None:
    found = (f for f in core.world.functions.values() if identity in f.clusters)
    return next((function.app.environment for function in found), None)


def of_call(core: Core, identity: str) -> str | None:
    if call_actions.is_new(core, identity):
        return None
    call = call_actions.find(core, identity)
    if call is not None:
        return call.function.app.environment
    n = records.function_of_call(core.db, identity)
    row = None if n is None else apps.function_by_n(core.db, n)
    return None if row is None else of_app(core, row.app_id)


def _of_container(core: Core, identity: str) -> str | None:
    container = core.world.containers.get(identity)
    if container is not None:
        return container.function.app.environment
    row = apps.by_container(core.db, identity)
    return None if row is None else row.environment


def _of_sandbox(core: Core, identity: str) -> str | None:
    one = core.world.sandboxes.get(identity)
    if one is not None:
        return one.app.environment
    row = sandboxes.by_id(core.db, identity)
    return None if row is None else of_app(core, row.app_id)


def _of_volume(core: Core, identity: str) -> str | None:
    row = volumes.by_id(core.db, identity)
    return None if row is None else row.environment


def _of_nfs(core: Core, identity: str) -> str | None:
    row = nfs.by_id(core.db, identity)
    return None if row is None else row.environment


def _of_collection(core: Core, identity: str) -> str | None:
    row = core.collections.get(identity) or collections.by_id(core.db, identity)
    return None if row is None else row.environment


def _of_secret(core: Core, identity: str) -> str | None:
    return secrets.environment(core.db, identity)


def of_image(core: Core, identity: str) -> str | None:
    """That of the sandbox whose snapshot it is, or was built on. Other images are made of what everybody may build."""
    step: tuple[str | None, Any] | None = (identity, {})
    for _ in range(_STEPS):
        if step is None or step[0] is None:
            return None
        step = images.step(core.db, step[0])
        if step is not None and step[1].get("op") == "snapshot":
            return _of_snapshot(core, step[1])
    return None


def _of_snapshot(core: Core, recipe: Any) -> str | None:
    """The sandbox may be forgotten already; snapshots of former releases say no more than its id."""
    if "environment" not in recipe:
        return _of_sandbox(core, recipe["commands"][0])
    return next((part.name for part in identity_actions.parts(core).values() if part.id == recipe["environment"]), None)


def _of_memory(core: Core, identity: str) -> str | None:
    row = sandboxes.memory_by_id(core.db, identity)
    return None if row is None else of_app(core, row.app_id)


def _of_proxy(core: Core, identity: str) -> str | None:
    row = proxies.by_id(core.db, identity)
    return None if row is None else row.environment


def _of_terminal(core: Core, identity: str) -> str | None:
    terminal = core.terminals.by_id.get(identity)
    return None if terminal is None else _of_container(core, terminal.container_id)


_KINDS: dict[str, tuple[str, Callable[[Core, str], str | None]]] = {
    "cu-": ("cluster", _of_cluster),
    "ap-": ("app", of_app),
    "fu-": ("function", _of_function),
    "fc-": ("call", of_call),
    "ta-": ("container", _of_container),
    "sb-": ("sandbox", _of_sandbox),
    "vo-": ("volume", _of_volume),
    "sv-": ("network file system", _of_nfs),
    "di-": ("dict", _of_collection),
    "qu-": ("queue", _of_collection),
    "st-": ("secret", _of_secret),
    "im-": ("image", of_image),
    "sn-": ("snapshot", _of_memory),
    "pr-": ("proxy", _of_proxy),
    "tt-": ("terminal", _of_terminal),
}


def place(core: Core, method: str, body: Any) -> str:
    """The environment that a request is about, or "". Asked before it is done: things may be gone afterwards."""
    if method not in methods.METHODS or method in rights.ADMIN:
        return ""
    try:
        found = environments(core, method, body)
    except exception.Error:
        return ""
    if not found:
        return ""
    names_it = "environment" in getattr(methods.METHODS[method].request, "__annotations__", ())
    return found[-1 if names_it else 0][1]
