"""Who may use a platform: tokens, members and service users, roles, and the audit log."""
from __future__ import annotations

from typing import TypedDict


class WhoAmI(TypedDict):
    """``kind``: owner, manager, member, viewer or service. ``token_id`` "": by the platform's own socket.

    ``environments``: role by name, without those that are closed.
    """

    workspace: str
    principal_id: str
    name: str
    kind: str
    token_id: str
    expires_at: float | None
    environments: dict[str, str]


class TokenCreate(TypedDict, total=False):
    """For ``name``, who is made where there is nobody of that name. ``kind``: theirs, "member" where they are new.

    ``expires_in``: seconds; absent: it never expires. ``environments``: those that it is valid in; absent: all.
    ``token_id`` is chosen by the client: asking again, when the answer was lost, gives it another secret.
    """

    token_id: str
    name: str
    kind: str
    expires_in: float
    environments: list[str]


class TokenCreated(TypedDict):
    """``secret`` is told once and kept by nobody."""

    token_id: str
    secret: str
    principal_id: str
    name: str
    kind: str
    expires_at: float | None


class TokenAsked(TypedDict):
    """Who waits with a code; ``source``: from where."""

    name: str
    source: str


class TokenCode(TypedDict):
    code: str


class TokenApprove(TypedDict, total=False):
    """``name``, ``expires_in``: absent leaves what was asked for. The rest is as in ``TokenCreate``. The secret goes to
    the one who waits, not to the one who approves."""

    code: str
    name: str
    kind: str
    expires_in: float
    environments: list[str]


class TokenInfo(TypedDict):
    """``state``: valid, expired or revoked. ``environments``: names; none: all."""

    token_id: str
    principal_id: str
    name: str
    kind: str
    state: str
    environments: list[str]
    created_at: float
    created_by: str
    expires_at: float | None
    used_at: float | None


class TokenList(TypedDict):
    """Newest first: one's own, or all."""

    tokens: list[TokenInfo]


class TokenRef(TypedDict):
    token_id: str


class TokenRotate(TypedDict, total=False):
    """Of the token that asks, unless ``token_id`` names another one. ``expires_in``: absent leaves its expiry."""

    token_id: str
    expires_in: float


class Member(TypedDict):
    """``environments``: roles of their own by name. ``tokens``: valid ones."""

    principal_id: str
    name: str
    kind: str
    created_at: float
    created_by: str
    used_at: float | None
    environments: dict[str, str]
    tokens: int


class MemberList(TypedDict):
    """Oldest first."""

    members: list[Member]


class MemberUpdate(TypedDict):
    """``member``: name or id."""

    member: str
    kind: str


class MemberRef(TypedDict):
    member: str


class EnvironmentRoles(TypedDict):
    """``roles``: by member, of those who have one of their own; ``effective``: what each member is there."""

    default_role: str
    roles: dict[str, str]
    effective: dict[str, str]


class RoleUpdate(TypedDict, total=False):
    """``member`` absent: the environment's default. ``role`` "": the default again."""

    name: str
    member: str
    role: str


class AuditQuery(TypedDict, total=False):
    """``member``: by name. ``action``: a method, may have stars."""

    since: float
    until: float
    member: str
    action: str
    limit: int


class AuditEntry(TypedDict):
    """``principal_id`` "": whoever owns the machine. ``outcome``: done or denied."""

    at: float
    principal_id: str
    name: str
    action: str
    target: str
    environment: str
    source: str
    outcome: str


class AuditLog(TypedDict):
    """Newest first."""

    entries: list[AuditEntry]
