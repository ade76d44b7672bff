"""The one place where rights are checked: before each handler, by what the request is about.

    method ─► the right it needs (decide.rights)
    body   ─► the environments of what it names ─► the role there ─► go on, refuse, or "there is no such thing"

Whoever may not even look into an environment is told about its things what they would be told if there were none.
The owner of the machine is nobody's ward: for them nothing here costs anything. A container acts as a contributor of
its app's environment, and elsewhere as a member without a role of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import calls as call_actions
from windlass.server.apply import core as core_module
from windlass.server.apply import environments as environment_actions
from windlass.server.apply import identity
from windlass.server.decide import rights
from windlass.server.state import identity as state
from windlass.server.state import machines
from windlass.server.store import apps, collections, nfs, records, sandboxes, secrets, volumes
from windlass.server.store import identity as store
from windlass.wire.messages import methods

Core = core_module.Core

_LISTS = {
    "app.list": "apps",
    "call.records": "records",
    "container.list": "containers",
    "environment.list": "environments",
    "image.list": "images",
    "sandbox.list": "sandboxes",
}
"""Answers that are cut to what one may see, where the question names no environment."""

_WHOLE = frozenset({"storage.usage"})
"""Answers that cannot be cut."""

_MAKING = frozenset({"app.create", "app.deploy", "volume.fork"})
"""Requests that make something where they say, whatever ids they name."""

_TEXTS = frozenset({"env", "tags", "metadata"})
"""Keys with what users wrote."""
_DEEP = 8

_TARGETS = (
    "name", "member", "token_id", "code", "domain", "app_id", "app", "sandbox_id", "container_id", "function_id",
    "volume_id", "secret_id", "call_id", "image_id", "id",
)  # fmt: skip
"""Keys of requests that say what an action was done to, the most telling first. Never values of secrets."""


class Ward:
    """Somebody whose rights are checked: a principal with a token, or a container."""

    __slots__ = ("container", "principal")

    def __init__(self, principal: state.Principal | None, container: machines.Container | None) -> None:
        self.principal = principal
        self.container = container

    @property
    def name(self) -> str:
        return self.principal.name if self.principal is not None else "this container"

    def role(self, core: Core, part: state.Part) -> str:
        if self.principal is not None:
            return identity.role(self.principal, part)
        assert self.container is not None
        return "contributor" if part.name == self.container.function.app.environment else part.default_role


def check(core: Core, ward: Ward, method: str, body: Any) -> None:
    """Raise ``PermissionDeniedError`` or ``NotFoundError`` where ``ward`` may not do this."""
    if ward.principal is None and not identity.restricted(core):
        return
    right = rights.needed(method, body)
    if right == "admin":
        if ward.principal is None or not identity.administers(ward.principal):
            raise _denied(ward, method, "the role owner or manager in the workspace")
        return
    known, named = identity.parts(core), False
    for what, environment in _environments(core, method, body):
        part = known.get(environment)
        if part is None:
            continue  # the handler says that there is none
        named, role = True, ward.role(core, part)
        if role == "no-access":
            raise _missing(what)
        if right not in rights.RIGHTS[role]:
            raise _denied(ward, method, f"the role contributor in environment {environment!r}", role)
    if named:
        return
    if method in _WHOLE and any(ward.role(core, part) == "no-access" for part in known.values()):
        raise _denied(ward, method, "a role in every environment")
    if not any(right in rights.RIGHTS[ward.role(core, part)] for part in known.values()):
        raise _denied(ward, method, "a role in an environment" if right == "read" else "the role contributor somewhere")


def _denied(ward: Ward, method: str, needs: str, role: str = "") -> exception.PermissionDeniedError:
    is_ = f", and {ward.name} is a {role} there" if role else f", which {ward.name} has not"
    return exception.PermissionDeniedError(
        f"{method} needs {needs}{is_}",
        hint="`windlass environment roles update` and `windlass workspace members update` change roles; owners may.",
    )


def _missing(what: tuple[str, str]) -> exception.NotFoundError:
    kind, identity = what
    if kind == "environment":
        return exception.NotFoundError(
            f"no environment {identity[:80]!r}", hint="`windlass environment list` shows what there is."
        )
    return exception.NotFoundError(f"no {kind} {identity[:60]}")


# -- what a request is about


def _environments(core: Core, method: str, body: Any) -> list[tuple[tuple[str, str], str]]:
    """((kind, id or name), environment) of all that it names, and of where it looks when it names nothing."""
    if method == "environment.roles":
        return [(("environment", body["name"]), body["name"])]
    found: list[tuple[tuple[str, str], str]] = []
    for value in body.values():
        if isinstance(value, str):
            _note(core, value, found)
    by_id = bool(found) and not body.get("name") and not body.get("app_name") and method not in _MAKING
    _walk(core, body, found, 0)
    if "environment" in getattr(methods.METHODS[method].request, "__annotations__", ()):
        if name := body.get("environment"):
            found.append((("environment", name), name))
        elif not by_id and method not in _LISTS:
            name = environment_actions.default(core)
            found.append((("environment", name), name))
    return found


def _walk(core: Core, value: Any, found: list[tuple[tuple[str, str], str]], depth: int) -> None:
    """Ids anywhere in the request: of a secret that a spec wants as well as of a volume that it mounts."""
    if isinstance(value, str):
        _note(core, value, found)
    elif isinstance(value, list) and depth < _DEEP:
        for one in value:
            _walk(core, one, found, depth + 1)
    elif isinstance(value, dict) and depth < _DEEP:
        for key, one in value.items():
            if key not in _TEXTS:
                _walk(core, one, found, depth + 1)
        if isinstance(functions := value.get("functions"), dict):  # by tag, which may be one of those words
            for one in functions.values():
                _walk(core, one, found, depth + 2)


def _note(core: Core, text: str, found: list[tuple[tuple[str, str], str]]) -> None:
    if len(text) != ids.LENGTH + 3 or (known := _KINDS.get(text[:3])) is None:
        return
    kind, where = known
    environment = where(core, text)
    if environment is not None:
        found.append(((kind, text), environment))


def _of_app(core: Core, identity: str) -> str | None:
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
    return None if row is None else _of_app(core, row.app_id)


def _of_call(core: Core, identity: str) -> str | None:
    call = call_actions.find(core, identity)
    if call is not None:
        return call.function.app.environment
    n = records.function_of_call(core.db, identity)
    row = None if n is None else apps.function_by_n(core.db, n)
    return None if row is None else _of_app(core, row.app_id)


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
    return None if row is None else _of_app(core, row.app_id)


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


_KINDS: dict[str, tuple[str, Callable[[Core, str], str | None]]] = {
    "ap-": ("app", _of_app),
    "fu-": ("function", _of_function),
    "fc-": ("call", _of_call),
    "ta-": ("container", _of_container),
    "sb-": ("sandbox", _of_sandbox),
    "vo-": ("volume", _of_volume),
    "sv-": ("network file system", _of_nfs),
    "di-": ("dict", _of_collection),
    "qu-": ("queue", _of_collection),
    "st-": ("secret", _of_secret),
}


# -- what an answer may show


def cut(core: Core, ward: Ward, method: str, answer: Any) -> Any:
    """The answer without what is in environments that are closed to ``ward``."""
    key = _LISTS.get(method)
    if (key is None and method != "image.info") or not isinstance(answer, dict) or not _limited(core, ward):
        return answer
    closed = {name for name, part in identity.parts(core).items() if ward.role(core, part) == "no-access"}
    if not closed:
        return answer
    if key is None:
        users = [user for user in answer["users"] if user["environment"] not in closed]
        return {**answer, "names": _open_names(answer["names"], closed), "users": users}
    rows = answer[key]
    if key == "images":
        cut_rows = [(row, _open_names(row["names"], closed)) for row in rows]
        return {key: [{**row, "names": names} for row, names in cut_rows if names or not row["names"]]}
    return {key: [row for row in rows if _place(core, key, row) not in closed]}


def _limited(core: Core, ward: Ward) -> bool:
    who = ward.principal
    return identity.restricted(core) or (who is not None and bool(who.environments or who.scope))


def _open_names(names: list[str], closed: set[str]) -> list[str]:
    return [name for name in names if name.partition("/")[0] not in closed]


def _place(core: Core, key: str, row: Any) -> str | None:
    if key == "environments":
        return str(row["name"])
    return str(row["environment"]) if "environment" in row else _of_app(core, row["app_id"])


# -- what was done


def note(
    core: Core, ward: Ward | None, method: str, body: Any, source: str, outcome: str, *, name: str = ""
) -> None:
    """A line for the audit log. ``ward`` None: whoever owns the machine, unless there is a ``name``."""
    who = None if ward is None else ward.principal
    inside = None if ward is None else ward.container
    shown = next((body[key] for key in _TARGETS if isinstance(body.get(key), str) and body[key]), "")
    identity.note(
        core,
        store.Entry(
            at=core.clock.now(),
            principal=who.principal_id if who is not None else inside.id if inside is not None else "",
            name=name or _name(core, who, inside),
            action=method,
            target=shown[:200],
            environment=str(body.get("environment") or "")[:100],
            source=source,
            outcome=outcome,
        ),
    )


def _name(core: Core, who: state.Principal | None, inside: machines.Container | None) -> str:
    if inside is None:
        return identity.name_of(core, who)
    return inside.function.app.name or inside.function.app.id
