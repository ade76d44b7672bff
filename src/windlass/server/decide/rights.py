"""Who may do what: the right that each method needs, and the rights that each role has.

    read < write < deploy        in an environment: a viewer reads, a contributor has all three
    admin                        in the workspace: owners and managers, who are contributors everywhere
    own                          about oneself: whoever has a token

A method that is in none of the tables below needs "write", so one that somebody forgets here is open to contributors
and closed to viewers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

KINDS = ("owner", "manager", "member", "viewer", "service")
ROLES = ("no-access", "viewer", "contributor")
RIGHTS: dict[str, frozenset[str]] = {
    "no-access": frozenset(),
    "viewer": frozenset({"read"}),
    "contributor": frozenset({"read", "write", "deploy"}),
}

READ = frozenset({
    "app.get", "app.list", "app.logs", "app.history", "environment.list", "function.get", "function.stats",
    "function.info", "function.figures", "schedule.list", "call.get", "call.graph", "call.records", "call.outputs",
    "call.input", "image.get", "image.list", "image.info", "image.logs", "image.contents", "image.export",
    "blob.missing", "blob.get", "secret.get", "secret.list", "sandbox.get", "sandbox.list", "sandbox.wait",
    "sandbox.output", "sandbox.exec_wait", "sandbox.exec_read", "dict.info", "dict.list", "dict.get", "dict.has",
    "dict.len", "dict.scan", "queue.info", "queue.list", "queue.len", "queue.look", "queue.figures", "storage.usage",
    "volume.list", "volume.room", "volume.history", "volume.entries", "volume.fetch", "volume.gather",
    "volume.missing", "nfs.list", "nfs.entries", "nfs.fetch", "nfs.gather", "container.list", "node.list",
    "domain.list", "member.list", "environment.roles", "billing.report", "proxy.get", "proxy.list", "cluster.get",
    "sandbox.figures", "sandbox.memory_get",
})  # fmt: skip

OWN = frozenset({"identity.whoami", "token.list", "token.rotate", "token.revoke"})
"""Of tokens, everybody sees, rotates and revokes their own; of others only who has "admin" (``apply.identity``)."""

DEPLOY = frozenset({"app.deploy", "app.return"})

ADMIN = frozenset({
    "environment.create", "environment.update", "environment.delete", "environment.set_role", "proxy_token.create",
    "proxy_token.list", "proxy_token.revoke", "domain.add", "domain.remove", "edge.trust", "image.prune",
    "image.fsck", "storage.gc", "proxy.create", "proxy.delete", "token.create", "token.asked", "token.approve",
    "member.update", "member.remove", "audit.list",
})  # fmt: skip

AUDITED = (
    DEPLOY
    | (ADMIN - {"proxy_token.list", "audit.list", "token.asked"})
    | frozenset({
        "app.create", "app.stop", "app.tags", "call.cancel", "container.exec", "container.stop", "dict.delete",
        "function.autoscaler", "image.publish", "nfs.delete", "queue.delete", "sandbox.create", "sandbox.terminate",
        "schedule.fire", "secret.store", "secret.update", "secret.delete", "terminal.attach", "token.revoke",
        "token.rotate", "volume.delete", "volume.quota", "volume.rename", "volume.restore",
    })
)  # fmt: skip
"""What the audit log tells of, beside all that was refused."""

UNPACED = frozenset({"app.heartbeat", "nfs.beat", "volume.beat"})
"""Methods that no rate limit holds back: what they keep alive would end."""


def needed(method: str, body: Any) -> str:
    """The right that a request needs."""
    if method in ADMIN:
        return "admin"
    if method in OWN:
        return "own"
    if method in DEPLOY or (method == "app.create" and body.get("state") == "deployed"):
        return "deploy"
    if method == "volume.quota":
        return "admin" if "quota" in body else "read"
    if method == "app.tags":
        return "write" if "tags" in body else "read"
    if method in ("volume.get", "nfs.get"):
        return "write" if body.get("create") or body.get("ephemeral") else "read"
    if method in ("dict.open", "queue.open"):
        return "read" if body.get("name") and body.get("create", "never") == "never" else "write"
    return "read" if method in READ else "write"


def administers(kind: str) -> bool:
    return kind in ("owner", "manager")


def role(*, kind: str, own: str | None, outside: bool, default: str) -> str:
    """What somebody is in an environment.

    Args:
        kind: what they are in the workspace.
        own: the role that they were given there.
        outside: their token is not valid there.
        default: that of whoever was given none.
    """
    if outside:
        return "no-access"
    if administers(kind):
        return "contributor"
    if own is not None:
        return own
    return min(default, "viewer", key=ROLES.index) if kind == "viewer" else default


class Budget(NamedTuple):
    """Requests that may still be made now, as of ``at``."""

    left: float
    at: float


def spend(budget: Budget | None, now: float, *, rate: float, burst: float) -> tuple[Budget, float]:
    """One more request: what is left then, and the seconds to wait where it comes too early (it is not counted)."""
    most = max(1.0, rate * burst)
    left = most if budget is None else min(most, budget.left + max(0.0, now - budget.at) * rate)
    if left < 1.0:
        return Budget(left, now), (1.0 - left) / rate
    return Budget(left - 1.0, now), 0.0
