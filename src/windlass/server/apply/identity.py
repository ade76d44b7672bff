"""Who somebody is, and what they are where: proved by tokens, kept in rows, asked before each request.

A token is an id and a secret. Of the secret only a salted digest is kept. Whether it has expired is judged by the
server's clock alone, so a client's clock may be as wrong as it likes.
"""

from __future__ import annotations

import functools
import hashlib
import hmac

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.decide import rights
from windlass.server.state import identity as state
from windlass.server.store import environments
from windlass.server.store import identity as store

Core = core_module.Core
_NOTED = 60.0  # seconds for which a use is not written down again
_AGAIN, _REMEMBERED = 10.0, 1000
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
    shown = digested(salt, secret)
    good = hmac.compare_digest(shown, digest)
    if row is not None and row.old_digest is not None and (row.old_until or 0.0) > now:
        good = hmac.compare_digest(shown, row.old_digest) or good
    return good


def digested(salt: bytes, secret: str) -> bytes:
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


def _revoked() -> exception.AuthError:
    return exception.AuthError("this token was revoked", hint=_NEXT)


def _read(core: Core, token_id: str) -> state.Principal:
    row = store.token(core.db, token_id)
    whose = None if row is None else store.principal(core.db, row.principal)
    if row is None or whose is None or row.revoked_at is not None:
        raise _revoked()
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


def named(core: Core, name: str) -> state.Part:
    found = parts(core).get(name)
    if found is None:
        raise exception.NotFoundError(
            f"no environment {name[:80]!r}", hint="`windlass environment list` shows what there is."
        )
    return found


def check_role(text: str) -> None:
    if text not in rights.ROLES:
        raise exception.InvalidError(
            f"{text[:60]!r} is no role in an environment", hint=f"There are {', '.join(rights.ROLES)}."
        )


def name_of(core: Core, by: state.Principal | None) -> str:
    return core.settings.workspace if by is None else by.name


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


def disconnect(core: Core, gone: set[str]) -> None:
    """After the answer: streams that are open would go on otherwise."""
    found = [link for link, token in core.identity.connected.items() if token in gone]
    core.turn.after.extend(functools.partial(link.refuse, _revoked()) for link in found)


def look(core: Core, now: float) -> None:
    """End connections whose token has expired."""
    for link, token_id in list(core.identity.connected.items()):
        try:
            current(core, token_id, now)
        except exception.AuthError as exc:
            link.refuse(exc)


def state_of(row: store.Token, now: float) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "valid"


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
