"""Who somebody is: tokens proved, made, renewed and ended; members and their roles; and the audit log.

A token is an id and a secret. Of the secret only a salted digest is kept. Whether it has expired is judged by the
server's clock alone, so a client's clock may be as wrong as it likes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.decide import rights
from windlass.server.state import identity as state
from windlass.server.store import environments
from windlass.server.store import identity as store
from windlass.wire.messages import identity as messages

Core = core_module.Core
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z")
_NOTED = 60.0  # seconds for which a use is not written down again
_OVERLAP = 60.0  # seconds that the old secret is good for after a rotation, for a client that lost the answer
_AGAIN, _REMEMBERED = 10.0, 1000
_LONGEST = 10 * 366 * 86400.0
_PREFIX = {"service": "su"}
_NEXT = "`windlass token new` makes one; on the platform's own machine, `windlass token create NAME`."


def principal(core: Core, token_id: str, secret: str, now: float) -> state.Principal:
    """Who shows this token.

    Raises:
        AuthError: it is none of this platform's, has expired or was revoked.
    """
    row = store.token(core.db, token_id)
    if not _proves(row, secret, now) or row is None:
        raise exception.AuthError("this token is not valid on this platform", hint=_NEXT)
    found = current(core, token_id, now)
    if row.used_at is None or now - row.used_at > _NOTED:
        core.turn.begin()
        store.note_use(core.db, row, now)
    return found


def _proves(row: store.Token | None, secret: str, now: float) -> bool:
    """As long for a token that does not exist."""
    salt, digest = (b"", b"") if row is None else (row.salt, row.digest)
    shown = _digest(salt, secret)
    good = hmac.compare_digest(shown, digest)
    if row is not None and row.old_digest is not None and (row.old_until or 0.0) > now:
        good = hmac.compare_digest(shown, row.old_digest) or good
    return good


def _digest(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode("utf-8", "replace")).digest()


def current(core: Core, token_id: str, now: float) -> state.Principal:
    """Whose token it is now; asked before each request of a connection, so it costs one look into a dictionary.

    Raises:
        AuthError: it has expired, was revoked, or its principal was removed.
    """
    found = core.identity.principals.get(token_id) or _read(core, token_id)
    if found.expires_at is not None and found.expires_at <= now:
        raise exception.AuthError("this token has expired", hint=_NEXT)
    return found


def _read(core: Core, token_id: str) -> state.Principal:
    row = store.token(core.db, token_id)
    whose = None if row is None else store.principal(core.db, row.principal)
    if row is None or whose is None or row.revoked_at is not None:
        raise exception.AuthError("this token was revoked", hint=_NEXT)
    made = state.Principal(
        principal_id=whose.id,
        name=whose.name,
        kind=whose.kind,
        environments=store.roles(core.db).get(whose.id, {}),
        token_id=row.id,
        scope=frozenset(row.environments),
        expires_at=row.expires_at,
    )
    core.identity.principals[token_id] = made
    return made


# -- environments and roles


def parts(core: Core) -> dict[str, state.Part]:
    """Environments by name."""
    if core.identity.parts is None:
        rows = environments.everything(core.db)
        core.identity.parts = {row.name: state.Part(row.id, row.name, row.default_role) for row in rows}
    return core.identity.parts


def restricted(core: Core) -> bool:
    """Whether there is an environment that is not open to all."""
    if core.identity.restricted is None:
        core.identity.restricted = any(part.default_role != "contributor" for part in parts(core).values())
    return core.identity.restricted


def role(who: state.Principal, part: state.Part) -> str:
    outside = bool(who.scope) and part.id not in who.scope
    own = who.environments.get(part.id)
    return rights.role(kind=who.kind, own=own, outside=outside, default=part.default_role)


def administers(by: state.Principal | None) -> bool:
    """Whether they deal with the workspace itself. A token for some environments is none for that."""
    return by is None or (rights.administers(by.kind) and not by.scope)


def visible(core: Core, who: state.Principal | None) -> dict[str, str]:
    """Roles by name of environment, without those that are closed to them."""
    if who is None:
        return dict.fromkeys(parts(core), "contributor")
    found = {part.name: role(who, part) for part in parts(core).values()}
    return {name: one for name, one in found.items() if one != "no-access"}


def effective(core: Core, environment: str) -> dict[str, str]:
    """What each member is in it."""
    part, roles = _part(core, environment), store.roles(core.db)
    return {
        row.name: rights.role(
            kind=row.kind, own=roles.get(row.id, {}).get(part.id), outside=False, default=part.default_role
        )
        for row in store.principals(core.db)
    }


def set_default_role(core: Core, row: environments.Row, wanted: str) -> None:
    check_role(wanted)
    core.turn.begin()
    environments.set_default_role(core.db, row.id, wanted)
    core.identity.changed()


def set_role(core: Core, row: environments.Row, member: str, wanted: str) -> None:
    """``wanted`` "": the environment's default."""
    if wanted:
        check_role(wanted)
    whose = find(core, member)
    core.turn.begin()
    store.set_role(core.db, row.id, whose.id, wanted or None)
    core.identity.changed()


def check_role(text: str) -> None:
    if text not in rights.ROLES:
        raise exception.InvalidError(
            f"{text[:60]!r} is no role in an environment", hint=f"There are {', '.join(rights.ROLES)}."
        )


# -- members


def find(core: Core, member: str) -> store.Principal:
    found = store.named(core.db, member) or store.principal(core.db, member)
    if found is None:
        raise exception.NotFoundError(
            f"no member {member[:80]!r}", hint="`windlass workspace members list` shows who there is."
        )
    return found


def update_member(core: Core, by: state.Principal | None, member: str, kind: str) -> None:
    row = find(core, member)
    _check_kind(by, kind)
    _check_kind(by, row.kind)
    if "service" in (kind, row.kind) and kind != row.kind:
        raise exception.InvalidError("a service user stays one, and nobody else becomes one", hint="Make another one.")
    core.turn.begin()
    store.set_kind(core.db, row.id, kind)
    core.identity.changed()


def remove_member(core: Core, by: state.Principal | None, member: str) -> None:
    """With all tokens, which open nothing any more at once."""
    row = find(core, member)
    _check_kind(by, row.kind)
    core.turn.begin()
    gone = {one.id for one in store.tokens(core.db) if one.principal == row.id}
    store.delete_principal(core.db, row.id)
    core.identity.changed()
    _disconnect(core, gone)


def _check_kind(by: state.Principal | None, kind: str) -> None:
    """Managers have no power over owners, nor may they make one."""
    if kind not in rights.KINDS:
        raise exception.InvalidError(f"{kind[:60]!r} is no role", hint=f"There are {', '.join(rights.KINDS)}.")
    if kind == "owner" and by is not None and by.kind != "owner":
        raise exception.PermissionDeniedError(f"only an owner may do that; {by.name} is a {by.kind}")


def members(core: Core, by: state.Principal | None) -> list[messages.Member]:
    """All, with their roles where ``by`` may look."""
    seen = visible(core, by)
    names = {part.id: part.name for part in parts(core).values() if part.name in seen}
    roles, now = store.roles(core.db), core.clock.now()
    valid: dict[str, int] = {}
    for token in store.tokens(core.db):
        valid[token.principal] = valid.get(token.principal, 0) + (_state(token, now) == "valid")
    return [
        {
            "principal_id": row.id,
            "name": row.name,
            "kind": row.kind,
            "created_at": row.created_at,
            "created_by": row.created_by,
            "used_at": row.used_at,
            "environments": {names[one]: own for one, own in roles.get(row.id, {}).items() if one in names},
            "tokens": valid.get(row.id, 0),
        }
        for row in store.principals(core.db)
    ]


# -- tokens


def create(core: Core, by: state.Principal | None, body: messages.TokenCreate) -> messages.TokenCreated:
    """A token for somebody, who is made where there is nobody of that name."""
    if not ids.is_id(body["token_id"], "ak"):
        raise exception.InvalidError(f"not a token id: {body['token_id'][:60]!r}")
    expires_at = _expiry(core, body.get("expires_in"))
    scope = [_part(core, name).id for name in body.get("environments", [])]
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
            id=body["token_id"], principal=whose.id, salt=salt, digest=_digest(salt, secret), old_digest=None,
            old_until=None, environments=scope, created_at=core.clock.now(), created_by=name_of(core, by),
            expires_at=expires_at, used_at=None, revoked_at=None,
        ),
    )  # fmt: skip
    return _told(body["token_id"], secret, whose, expires_at)


def _part(core: Core, name: str) -> state.Part:
    found = parts(core).get(name)
    if found is None:
        raise exception.NotFoundError(
            f"no environment {name[:80]!r}", hint="`windlass environment list` shows what there is."
        )
    return found


def _whose(core: Core, by: state.Principal | None, name: str, kind: str | None) -> store.Principal:
    if not _NAME.match(name):
        raise exception.InvalidError(
            f"{name[:80]!r} is no name for a member",
            hint="Use 1-64 letters, digits and '._@+-', the first a letter or digit.",
        )
    known = store.named(core.db, name)
    _check_kind(by, known.kind if known is not None else kind or "member")
    if known is not None:
        if kind is not None and kind != known.kind:
            raise exception.ConflictError(
                f"{name!r} is a {known.kind} already", hint="`windlass workspace members update` changes that."
            )
        return known
    kind = kind or "member"
    made = store.Principal(
        ids.new(_PREFIX.get(kind, "us")), name, kind, core.clock.now(), name_of(core, by), None
    )
    store.insert_principal(core.db, made)
    return made


def name_of(core: Core, by: state.Principal | None) -> str:
    return core.settings.workspace if by is None else by.name


def _expiry(core: Core, seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not 0 < seconds <= _LONGEST:
        raise exception.InvalidError("a token is valid for more than nothing and at most ten years")
    return core.clock.now() + seconds


def rotate(core: Core, by: state.Principal | None, body: messages.TokenRotate) -> messages.TokenCreated:
    """Another secret for a token. The old one is good for a minute more."""
    row = _theirs(core, by, body.get("token_id") or (by.token_id if by is not None else ""))
    whose = store.principal(core.db, row.principal)
    assert whose is not None
    expires_at = _expiry(core, body["expires_in"]) if "expires_in" in body else row.expires_at
    core.turn.begin()
    return _renewed(core, row, whose, expires_at, overlap=True)


def _renewed(
    core: Core, row: store.Token, whose: store.Principal, expires_at: float | None, *, overlap: bool
) -> messages.TokenCreated:
    secret = ids.new("as")
    store.rotate(
        core.db,
        row._replace(
            digest=_digest(row.salt, secret), old_digest=row.digest if overlap else None,
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
    _disconnect(core, {row.id})


def _theirs(core: Core, by: state.Principal | None, token_id: str) -> store.Token:
    """The token, where ``by`` may deal with it; a stranger's does not exist for them."""
    row = store.token(core.db, token_id)
    if row is not None and by is not None and row.principal != by.principal_id:
        whose = store.principal(core.db, row.principal)
        if not administers(by) or whose is None:
            row = None
        else:
            _check_kind(by, whose.kind)
    if row is None:
        raise exception.NotFoundError(
            f"no token {token_id[:60]!r}" if token_id else "which token is meant?",
            hint="`windlass token list` shows what there is.",
        )
    return row


def tokens(core: Core, by: state.Principal | None) -> list[messages.TokenInfo]:
    """One's own; all for whoever administers the workspace."""
    names, now = {part.id: part.name for part in parts(core).values()}, core.clock.now()
    whose = {row.id: row for row in store.principals(core.db)}
    everybody = administers(by)
    return [
        {
            "token_id": row.id,
            "principal_id": row.principal,
            "name": whose[row.principal].name,
            "kind": whose[row.principal].kind,
            "state": _state(row, now),
            "environments": [names.get(one, "(deleted)") for one in row.environments],
            "created_at": row.created_at,
            "created_by": row.created_by,
            "expires_at": row.expires_at,
            "used_at": row.used_at,
        }
        for row in store.tokens(core.db)
        if row.principal in whose and (everybody or (by is not None and row.principal == by.principal_id))
    ]


def _state(row: store.Token, now: float) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "valid"


# -- requests


def pace(core: Core, who: state.Principal) -> None:
    """One more request of theirs. Raises ``ThrottledError`` when they come too fast."""
    rate = core.settings.principal_rate
    if not rate:
        return
    budgets = core.identity.budgets
    budgets[who.principal_id], wait = rights.spend(
        budgets.get(who.principal_id), core.clock.monotonic(), rate=rate, burst=core.settings.principal_burst
    )
    if wait:
        error = exception.ThrottledError(f"{who.name} asks more than {rate:g} times a second")
        error.retry_after = wait
        raise error


# -- connections


def _disconnect(core: Core, gone: set[str]) -> None:
    """After the answer: streams that are open would go on otherwise."""
    found = [link for link, token in core.identity.connected.items() if token in gone]
    core.turn.after.extend(link.close for link in found)


def look(core: Core, now: float) -> None:
    """End connections whose token has expired."""
    for link, token_id in list(core.identity.connected.items()):
        try:
            current(core, token_id, now)
        except exception.AuthError:
            link.close()


# -- the audit log


def note(core: Core, entry: store.Entry) -> None:
    """Write a line. Who is refused the same again and again has one in ten seconds."""
    if entry.outcome == "denied":
        key, refused = (entry.principal or entry.source, entry.action), core.identity.refused
        if entry.at - refused.get(key, 0.0) < _AGAIN:
            return
        if len(refused) >= _REMEMBERED:
            refused.clear()
        refused[key] = entry.at
    core.turn.begin()
    store.insert_audit(core.db, entry)


def forget(core: Core, now: float) -> bool:
    """What is older than it is kept. True when more may be left."""
    store.forget_tokens(core.db, now - core.settings.keep_audit)
    return store.forget_audit(core.db, now - core.settings.keep_audit)
