"""The life of tokens: made, given another secret, revoked."""

from __future__ import annotations

import os
import re

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import identity, members
from windlass.server.state import identity as state
from windlass.server.store import identity as store
from windlass.wire.messages import identity as messages

Core = core_module.Core
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z")
_OVERLAP = 60.0  # seconds that the old secret is good for after a rotation, for a client that lost the answer
_LONGEST = 10 * 366 * 86400.0
_PREFIX = {"service": "su"}


def create(core: Core, by: state.Principal | None, body: messages.TokenCreate) -> messages.TokenCreated:
    """A token for somebody, who is made where there is nobody of that name."""
    if not ids.is_id(body["token_id"], "ak"):
        raise exception.InvalidError(f"not a token id: {body['token_id'][:60]!r}")
    expires_at = _expiry(core, body.get("expires_in"))
    scope = [identity.named(core, name).id for name in body.get("environments", [])]
    core.turn.begin()
    whose = _whose(core, by, body["name"], body.get("kind"))
    known = store.token(core.db, body["token_id"])
    if known is not None:
        if known.principal != whose.id or known.used_at is not None:
            raise exception.AlreadyExistsError(f"there is a token {known.id} already")
        return _renewed(core, known, whose, known.expires_at, overlap=False)
    salt, secret = os.urandom(16), ids.new("as")
    store.insert_token(
        core.db,
        store.Token(
            id=body["token_id"], principal=whose.id, salt=salt, digest=identity.digested(salt, secret), old_digest=None,
            old_until=None, environments=scope, created_at=core.clock.now(), created_by=identity.name_of(core, by),
            expires_at=expires_at, used_at=None, revoked_at=None,
        ),
    )  # fmt: skip
    return _told(body["token_id"], secret, whose, expires_at)


def _whose(core: Core, by: state.Principal | None, name: str, kind: str | None) -> store.Principal:
    if not _NAME.match(name):
        raise exception.InvalidError(
            f"{name[:80]!r} is no name for a member",
            hint="Use 1-64 letters, digits and '._@+-', the first a letter or digit.",
        )
    known = store.named(core.db, name)
    members.check_kind(by, known.kind if known is not None else kind or "member")
    if known is not None:
        if kind is not None and kind != known.kind:
            raise exception.ConflictError(
                f"{name!r} is a {known.kind} already", hint="`windlass workspace members update` changes that."
            )
        return known
    kind = kind or "member"
    made = store.Principal(
        ids.new(_PREFIX.get(kind, "us")), name, kind, core.clock.now(), identity.name_of(core, by), None
    )
    store.insert_principal(core.db, made)
    return made


def _expiry(core: Core, seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not 0 < seconds <= _LONGEST:
        raise exception.InvalidError("a token is valid for more than nothing and at most ten years")
    return core.clock.now() + seconds


def rotate(core: Core, by: state.Principal | None, body: messages.TokenRotate) -> messages.TokenCreated:
    """Another secret for a token. The old one is good for a minute more.

    Raises:
        PermissionDeniedError: it should be valid for longer than whoever made it has said.
    """
    row = _theirs(core, by, body.get("token_id") or (by.token_id if by is not None else ""))
    whose = store.principal(core.db, row.principal)
    assert whose is not None
    expires_at = _expiry(core, body["expires_in"]) if "expires_in" in body else row.expires_at
    if row.expires_at is not None and not identity.administers(by) and (expires_at or row.expires_at) > row.expires_at:
        raise exception.PermissionDeniedError(
            f"token {row.id} may not become valid for longer than it was made for",
            hint="Leave --expires-in out to keep its end; a manager or owner can give it another one.",
        )
    core.turn.begin()
    return _renewed(core, row, whose, expires_at, overlap=True)


def _renewed(
    core: Core, row: store.Token, whose: store.Principal, expires_at: float | None, *, overlap: bool
) -> messages.TokenCreated:
    secret = ids.new("as")
    store.rotate(
        core.db,
        row._replace(
            digest=identity.digested(row.salt, secret), old_digest=row.digest if overlap else None,
            old_until=core.clock.now() + _OVERLAP, expires_at=expires_at,
        ),
    )  # fmt: skip
    core.identity.changed()
    return _told(row.id, secret, whose, expires_at)


def _told(
    token_id: str, secret: str, whose: store.Principal, expires_at: float | None
) -> messages.TokenCreated:
    return {
        "token_id": token_id, "secret": secret, "principal_id": whose.id, "name": whose.name, "kind": whose.kind,
        "expires_at": expires_at,
    }  # fmt: skip


def revoke(core: Core, by: state.Principal | None, token_id: str) -> None:
    """It opens nothing any more, and who is connected with it is not."""
    row = _theirs(core, by, token_id)
    core.turn.begin()
    if row.revoked_at is None:
        store.revoke(core.db, row.id, core.clock.now())
    core.identity.changed()
    identity.disconnect(core, {row.id})


def _theirs(core: Core, by: state.Principal | None, token_id: str) -> store.Token:
    """The token, where ``by`` may deal with it; a stranger's does not exist for them."""
    row = store.token(core.db, token_id)
    if row is not None and not _within(by, row):
        row = None
    if row is not None and by is not None and row.principal != by.principal_id:
        whose = store.principal(core.db, row.principal)
        if not identity.administers(by) or whose is None:
            row = None
        else:
            members.check_kind(by, whose.kind)
    if row is None:
        raise exception.NotFoundError(
            f"no token {token_id[:60]!r}" if token_id else "which token is meant?",
            hint="`windlass token list` shows what there is.",
        )
    return row


def _within(by: state.Principal | None, row: store.Token) -> bool:
    """Whether a token opens no more than the one that is shown: else its secret would be a way out of the limits."""
    if by is None or not by.scope or row.id == by.token_id:
        return True
    return bool(row.environments) and by.scope.issuperset(row.environments)


def listed(core: Core, by: state.Principal | None) -> list[messages.TokenInfo]:
    """One's own; all for whoever administers the workspace."""
    names, now = {part.id: part.name for part in identity.parts(core).values()}, core.clock.now()
    whose = {row.id: row for row in store.principals(core.db)}
    everybody = identity.administers(by)
    return [
        {
            "token_id": row.id,
            "principal_id": row.principal,
            "name": whose[row.principal].name,
            "kind": whose[row.principal].kind,
            "state": identity.state_of(row, now),
            "environments": [names.get(one, "(deleted)") for one in row.environments],
            "created_at": row.created_at,
            "created_by": row.created_by,
            "expires_at": row.expires_at,
            "used_at": row.used_at,
        }
        for row in store.tokens(core.db)
        if row.principal in whose and _within(by, row)
        and (everybody or (by is not None and row.principal == by.principal_id))
    ]
