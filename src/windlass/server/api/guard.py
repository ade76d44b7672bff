"""The one place where rights are checked: before each handler, by what the request is about.

    method ─► the right it needs (decide.rights)
    body   ─► the environments of what it names ─► the role there ─► go on, refuse, or "there is no such thing"

Whoever may not even look into an environment is told about its things what they would be told if there were none.
The owner of the machine is nobody's ward: for them nothing here costs anything. A container acts as a contributor of
its app's environment, and elsewhere as a member without a role of their own.
"""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import scope
from windlass.server.apply import core as core_module
from windlass.server.apply import identity, web
from windlass.server.decide import rights
from windlass.server.state import identity as state
from windlass.server.state import machines
from windlass.server.store import identity as store
from windlass.wire.messages import methods

Core = core_module.Core

_WHOLE = frozenset({"storage.usage"})
"""Answers that cannot be cut."""

_ASKING = frozenset({"billing.report"})
"""Requests whose "by" says something else than who asks."""

_TARGETS = (
    "name", "member", "token_id", "code", "domain", "app_id", "app", "sandbox_id", "container_id", "function_id",
    "volume_id", "secret_id", "call_id", "image_id", "id",
)  # fmt: skip
"""Keys of requests that say what an action was done to, the most telling first. Never values of secrets."""


class Ward:
    """Somebody whose rights are checked: a principal with a token, or a container."""

    __slots__ = ("_roles", "container", "principal")

    def __init__(self, principal: state.Principal | None, container: machines.Container | None) -> None:
        self.principal = principal
        self.container = container
        self._roles: dict[str, tuple[state.Principal, state.Part, str]] = {}
        """By environment: the role, and of whom and where it is one. Neither ever changes: others take their place."""

    @property
    def name(self) -> str:
        return self.principal.name if self.principal is not None else "this container"

    def role(self, core: Core, part: state.Part) -> str:
        who = self.principal
        if who is not None:
            known = self._roles.get(part.name)
            if known is None or known[0] is not who or known[1] is not part:
                known = self._roles[part.name] = who, part, identity.role(who, part)
            return known[2]
        assert self.container is not None
        return "contributor" if part.name == self.container.function.app.environment else part.default_role


def check(core: Core, ward: Ward, method: str, body: Any) -> None:
    """Raise ``PermissionDeniedError`` or ``NotFoundError`` where ``ward`` may not do this."""
    if ward.principal is None and not identity.restricted(core):
        return
    right = rights.needed(method, body)
    if right == "own":
        return
    if right == "admin":
        if ward.principal is None or not identity.administers(ward.principal):
            raise _denied(ward, method, "the role owner or manager in the workspace")
        return
    known, named, hidden = identity.parts(core), False, None
    for what, environment in scope.environments(core, method, body):
        part = known.get(environment)
        if part is None:
            continue  # the handler says that there is none
        role = ward.role(core, part)
        if role == "no-access":
            hidden = hidden or what
            continue
        named = True
        if right not in rights.RIGHTS[role]:
            raise _denied(ward, method, f"the role contributor in environment {environment!r}", role)
    if not named:  # what is hidden counts as not named: somebody who may nowhere do this must not tell it from nothing
        if method in _WHOLE and any(ward.role(core, part) == "no-access" for part in known.values()):
            raise _denied(ward, method, "a role in every environment")
        if not any(right in rights.RIGHTS[ward.role(core, part)] for part in known.values()):
            needs = "a role in an environment" if right == "read" else "the role contributor somewhere"
            raise _denied(ward, method, needs)
    if hidden is not None:
        raise _missing(hidden)


def sign(who: state.Principal, method: str, body: Any) -> None:
    """Who made something is what the token says, not what the client does."""
    if "facts" in body or method in rights.DEPLOY:
        body["facts"] = {**(body.get("facts") or {}), "by": who.name}
    elif method not in _ASKING and "by" in getattr(methods.METHODS[method].request, "__annotations__", ()):
        body["by"] = who.name


def _denied(ward: Ward, method: str, needs: str, role: str = "") -> exception.PermissionDeniedError:
    is_ = f", and {ward.name} is a {role} there" if role else f", which {ward.name} has not"
    return exception.PermissionDeniedError(
        f"{method} needs {needs}{is_}",
        hint="`windlass environment roles update` and `windlass workspace members update` change roles; owners and "
        "managers may.",
    )


def _missing(what: tuple[str, str]) -> exception.NotFoundError:
    kind, identity = what
    if kind == "environment":
        return exception.NotFoundError(
            f"no environment {identity[:80]!r}", hint="`windlass environment list` shows what there is."
        )
    return exception.NotFoundError(f"no {kind} {identity[:60]}")


# -- what an answer may show


def cut(core: Core, ward: Ward, method: str, answer: Any) -> Any:
    """The answer without what is in environments that are closed to ``ward``."""
    key = scope.LISTS.get(method)
    special = _CUTS.get(method)
    if (key is None and special is None) or not isinstance(answer, dict) or not _limited(core, ward):
        return answer
    closed = {name for name, part in identity.parts(core).items() if ward.role(core, part) == "no-access"}
    if not closed:
        return answer
    if special is not None:
        return special(core, closed, answer)
    assert key is not None
    rows = answer[key]
    if key == "images":
        seen = [row for row in rows if scope.of_image(core, row["image_id"]) not in closed]
        cut_rows = [(row, _open_names(row["names"], closed)) for row in seen]
        return {key: [{**row, "names": names} for row, names in cut_rows if names or not row["names"]]}
    return {**answer, key: [row for row in rows if _place(core, key, row) not in closed]}


def _image(core: Core, closed: set[str], answer: Any) -> Any:
    users = [user for user in answer["users"] if user["environment"] not in closed]
    sharing = [one for one in answer["sharing"] if scope.of_image(core, one["image_id"]) not in closed]
    return {**answer, "names": _open_names(answer["names"], closed), "users": users, "sharing": sharing}


def _nodes(core: Core, closed: set[str], answer: Any) -> Any:
    """What machines have and how full they are; not which container of others has a GPU."""

    def shown(gpu: Any) -> Any:
        holder = core.world.containers.get(gpu["held_by"])
        is_closed = holder is not None and holder.function.app.environment in closed
        return {**gpu, "held_by": "another environment"} if is_closed else gpu

    return {"nodes": [{**node, "gpus": [shown(gpu) for gpu in node["gpus"]]} for node in answer["nodes"]]}


def _domains(core: Core, closed: set[str], answer: Any) -> Any:
    """Those that are free, or that something has which one may see."""

    def is_open(name: str) -> bool:
        holders = {route.function.app.environment for route in web.holders(core, name)}
        return not holders or not holders <= closed

    return {"domains": [one for one in answer["domains"] if is_open(one["domain"])]}


_CUTS = {"image.info": _image, "node.list": _nodes, "domain.list": _domains}
"""Answers that are cut in another way than a list of things."""


def _limited(core: Core, ward: Ward) -> bool:
    who = ward.principal
    return identity.restricted(core) or (who is not None and bool(who.environments or who.scope))


def _open_names(names: list[str], closed: set[str]) -> list[str]:
    return [name for name in names if name.partition("/")[0] not in closed]


def _place(core: Core, key: str, row: Any) -> str | None:
    if key == "environments":
        return str(row["name"])
    if key == "nodes":
        return scope.of_call(core, row["call_id"])
    return str(row["environment"]) if "environment" in row else scope.of_app(core, row["app_id"])


# -- what was done


def note(
    core: Core, ward: Ward | None, method: str, body: Any, source: str, outcome: str, *, name: str = "", where: str = ""
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
            environment=where[:100],
            source=source,
            outcome=outcome,
        ),
    )


def _name(core: Core, who: state.Principal | None, inside: machines.Container | None) -> str:
    if inside is None:
        return identity.name_of(core, who)
    return inside.function.app.name or inside.function.app.id
