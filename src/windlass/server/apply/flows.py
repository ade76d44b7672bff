"""Asking for a token from a machine that has none.

    stranger                         platform                              somebody with "admin"
    ask ───────────────────────────► flow, with a code and a wait secret
    show the code, wait ───────────►                        ◄───────────── approve CODE, as whom
    token ◄───────────────────────── to whoever has the wait secret

Whoever approves compares the code with what the stranger sees: it says which of those who ask is meant. Only in memory:
who asked before a restart asks again.
"""

from __future__ import annotations

import asyncio
import re
import secrets

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import tokens
from windlass.server.state import identity as state
from windlass.server.store import identity as store
from windlass.wire.messages import identity as messages

Core = core_module.Core
LIFE = 900.0
"""Seconds for somebody to approve."""
_MOST = 100
_AFTERWARDS = 60.0  # seconds for which a token that was fetched can be fetched again: the answer may be lost
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels: no words
_CALLBACK = re.compile(r"http://127\.0\.0\.1:\d{1,5}/\Z")


def ask(core: Core, *, name: str, callback: str, source: str, expires_in: float | None) -> state.Flow:
    """Begin. The oldest of too many goes. Whoever approves reads ``name`` in a terminal, which it must not command."""
    if callback and not _CALLBACK.match(callback):
        raise exception.InvalidError("the callback must be on the asking machine itself")
    flows, now = core.identity.flows, core.clock.now()
    for one in [one for one in flows.values() if one.ends_at <= now]:
        del flows[one.id]
    while len(flows) >= _MOST:
        del flows[next(iter(flows))]
    name = "".join(one if one.isprintable() else "?" for one in name[:64])
    letters = [secrets.choice(_LETTERS) for _ in range(8)]
    made = state.Flow(
        id=ids.new("tf"), code=f"{''.join(letters[:4])}-{''.join(letters[4:])}", secret=secrets.token_urlsafe(32),
        name=name, callback=callback, source=source, ends_at=now + LIFE, expires_in=expires_in,
    )  # fmt: skip
    flows[made.id] = made
    return made


def of(core: Core, flow_id: str) -> state.Flow:
    found = core.identity.flows.get(flow_id)
    if found is None or found.ends_at <= core.clock.now():
        raise exception.NotFoundError("nobody asks for this token any more", hint="Ask again: `windlass token new`.")
    return found


def coded(core: Core, code: str) -> state.Flow:
    wanted = code.strip().upper()
    for one in core.identity.flows.values():
        if one.code == wanted and one.made is None and one.ends_at > core.clock.now():
            return one
    raise exception.NotFoundError(
        f"nobody waits with the code {code[:20]!r}",
        hint=f"Codes are good for {LIFE / 60:.0f} minutes, and for one token.",
    )


def approve(core: Core, by: state.Principal | None, body: messages.TokenApprove) -> messages.TokenCreated:
    """Make the token, for the one who waits."""
    flow = coded(core, body["code"])
    if not body.get("name") and store.named(core.db, flow.name):  # a stranger may say any name
        raise exception.ConflictError(
            f"{flow.name!r} is somebody here already", hint=f"Say --name {flow.name} if it is they, or another name."
        )
    wanted: messages.TokenCreate = {"token_id": ids.new("ak"), "name": body.get("name") or flow.name}
    if "kind" in body:
        wanted["kind"] = body["kind"]
    expires_in = body.get("expires_in", flow.expires_in)
    if expires_in is not None:
        wanted["expires_in"] = expires_in
    if body.get("environments"):
        wanted["environments"] = body["environments"]
    made = tokens.create(core, by, wanted)

    def tell() -> None:
        flow.made = made
        flow.done.set()

    core.turn.after.append(tell)
    return {**made, "secret": ""}


async def wait(core: Core, flow_id: str, secret: str, seconds: float) -> messages.TokenCreated | None:
    """The token, once somebody approved; None where nobody did so far."""
    flow = of(core, flow_id)
    if not secrets.compare_digest(flow.secret.encode(), secret.encode("utf-8", "replace")):
        raise exception.AuthError("this is not who asked")
    if flow.made is None:
        try:
            await asyncio.wait_for(flow.done.wait(), seconds)
        except asyncio.TimeoutError:
            return None
    flow.ends_at = min(flow.ends_at, core.clock.now() + _AFTERWARDS)
    return flow.made
