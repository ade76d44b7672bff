"""Connections: hello, roles, validation, errors. Handlers are plain functions, called straight from the socket.

A handler gets ``(core, who, body, incoming)``. What it returns is the answer, sent after the commit when it
changed something; a handler that returns None answers by itself (streams, held back answers).
"""

from __future__ import annotations

import asyncio
import collections
import json
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

import windlass
from windlass import exception, wire
from windlass.server.api import guard, scope, shapes
from windlass.server.apply import containers
from windlass.server.apply import core as core_module
from windlass.server.apply import identity as actions
from windlass.server.bus import link
from windlass.server.decide import rights
from windlass.server.state import identity, machines
from windlass.wire import codec, peer, versions
from windlass.wire.messages import common, methods

_log = logging.getLogger(__name__)
Core = core_module.Core
VERSION: str = getattr(windlass, "__version__", "0.1.0")

_GUESTS = 512  # connections that have not said hello
_GUEST_FRAME = 65536  # bytes of what they may say
_MEMBERS = 256  # connections of one container: it must not take all that the server may open

_fast_encode = msgspec.json.Encoder().encode
_fast_decode = msgspec.json.Decoder().decode
_OUTSIDE = "Do it in a program outside of containers, or on the command line."


class Who:
    """Who is at the other end of a connection. ``container`` for runners and the SDK inside containers.

    ``principal`` for users who came with a token; without one they are the owner of the machine.
    """

    __slots__ = ("client_id", "container", "principal", "role", "ward")

    def __init__(self, role: str, client_id: str, container: machines.Container | None) -> None:
        self.role = role
        self.client_id = client_id
        self.container = container
        self.principal: identity.Principal | None = None
        self.ward: guard.Ward | None = None
        """Where its rights are to be checked."""


    @property
    def is_owner(self) -> bool:
        """Of the machine, or of the workspace."""
        who = self.principal
        return self.container is None and (who is None or (who.kind == "owner" and not who.scope))


Handler = Callable[[Core, Who, Any, peer.Incoming], Any]
HANDLERS: dict[str, Handler] = {}
_NEEDS: dict[str, tuple[str, ...]] = {}
LOST: list[Callable[[Core, Who, link.Link], None]] = []
"""What else happens when a connection is lost; the files of this room add to it."""


def handler(method: str, *needs: str) -> Callable[[Handler], Handler]:
    """Register the answer to ``method``. ``needs``: keys that its (otherwise optional) body must have."""

    def register(function: Handler) -> Handler:
        HANDLERS[method] = function
        _NEEDS[method] = needs
        return function

    return register


def needs(method: str) -> tuple[str, ...]:
    """Keys that its body must have although its shape does not say so."""
    return _NEEDS.get(method, ())


def no_edge(core: Core) -> exception.Error:
    """For what needs the web edge where there is none (yet: it opens last)."""
    if core.settings.web_port < 0:
        return exception.ConflictError("this platform has no web edge")
    return exception.ServiceError("the web edge of this platform is about to open")


def encode(header: dict[str, Any]) -> bytes:
    try:
        return _fast_encode(header)
    except UnicodeEncodeError:  # lone surrogates of a user's text
        return codec.dumps(header)


def decode(data: bytes) -> Any:
    try:
        return _fast_decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # lone surrogates, NaN: what the standard library sends
        return _storable(json.loads(data.decode("utf-8", "surrogatepass")))


def _storable(value: Any) -> Any:
    """``value`` without what neither the database nor JSON can hold: half characters, numbers that are none."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Door:
    """Makes the two ends of the server's sockets. ``roles``: who may enter here; ``trusted``: also without a token."""

    def __init__(self, core: Core, roles: frozenset[str], links: set[link.Link], *, trusted: bool = True) -> None:
        self._core = core
        self._roles = roles
        self._links = links
        self._trusted = trusted

        self._guests: dict[peer.Peer, None] = {}
        self._whose: dict[peer.Peer, str] = {}
        self._members: collections.Counter[str] = collections.Counter()

    def connection(self) -> link.Link:
        """A protocol for a new connection."""
        return link.Link(serve=self._serve, made=self._made, lost=self._lost, encode=encode, decode=decode)

    def _made(self, made: peer.Peer) -> None:
        """Somebody of whom we know nothing yet: such may cost little, and the oldest of too many must go."""
        assert isinstance(made, link.Link)
        self._links.add(made)
        made.limit(_GUEST_FRAME)
        self._guests[made] = None
        if len(self._guests) > _GUESTS:
            oldest = next(iter(self._guests))
            del self._guests[oldest]
            oldest.close()

    def _serve(self, incoming: peer.Incoming) -> None:
        try:
            answer = self._answer(incoming)
        except exception.Error as exc:
            self._refuse(incoming, exc)
            return
        except Exception as exc:  # noqa: BLE001 - a defect in a handler must not end the connection
            _log.exception("%s failed", incoming.method)
            self._core.db.failed = self._core.db.failed or exc
            self._refuse(incoming, exception.InternalError(f"{type(exc).__name__}: {exc}"))
            return
        if answer is not None:
            if self._core.turn.is_open:
                self._core.turn.answer(incoming, answer)
            else:
                incoming.reply(answer)

    def _refuse(self, incoming: peer.Incoming, exc: exception.Error) -> None:
        incoming.fail(exc)
        if self._core.db.failed is not None:
            if self._core.turn.is_open:
                self._core.turn.abandon(exc)
            self._core.db.failed = None

    def _answer(self, incoming: peer.Incoming) -> Any:
        method = incoming.method
        who: Who | None = incoming.peer.identity
        if who is None:
            if method != "hello":
                raise exception.AuthError("say hello first")
            return self._hello(incoming)
        known = methods.METHODS.get(method)
        answer = HANDLERS.get(method)
        if known is None or answer is None:
            raise exception.UnimplementedError(f"this server does not know {method!r}", hint="Upgrade the server.")
        if who.role not in known.roles:
            hint = _OUTSIDE if "user" in known.roles else ""
            raise exception.PermissionDeniedError(f"a {who.role} may not use {method}", hint=hint)
        try:
            body = shapes.checked(incoming.body, known.request)
        except msgspec.ValidationError as exc:
            raise exception.InvalidError(f"{method}: {exc}") from None
        for key in _NEEDS[method]:
            if key not in body:
                raise exception.InvalidError(f"{method}: {key} is missing")
        where = scope.place(self._core, method, body) if method in rights.AUDITED else ""
        if who.ward is None:
            found = answer(self._core, who, body, incoming)
        else:
            self._guard(who, who.ward, method, body, incoming)
            found = guard.cut(self._core, who.ward, method, answer(self._core, who, body, incoming))
        if method in rights.AUDITED:
            guard.note(self._core, who.ward, method, body, _source(incoming), "done", where=where)
        return found

    def _guard(self, who: Who, ward: guard.Ward, method: str, body: Any, incoming: peer.Incoming) -> None:
        """Raise an error unless they may do this, now."""
        core = self._core
        if who.principal is not None:
            who.principal = ward.principal = actions.current(core, who.principal.token_id, core.clock.now())
            if core.settings.principal_rate and method not in rights.UNPACED:
                actions.pace(core, who.principal)
        try:
            guard.check(core, ward, method, body)
        except exception.PermissionDeniedError:
            where = scope.place(core, method, body)
            guard.note(core, ward, method, body, _source(incoming), "denied", where=where)
            raise
        if who.principal is not None:
            guard.sign(who.principal, method, body)

    def _hello(self, incoming: peer.Incoming) -> common.HelloReply:
        try:
            body = shapes.checked(incoming.body, common.HelloRequest)
        except msgspec.ValidationError as exc:
            raise exception.InvalidError(f"hello: {exc}") from None
        role = body.get("role", "")
        spoken = versions.spoken(wire.PROTOCOL, body.get("protocol"), role)
        if spoken is None:
            raise versions.refused((VERSION, wire.PROTOCOL), (body.get("version", ""), body.get("protocol")))
        if role not in self._roles:
            raise exception.PermissionDeniedError(f"role {role!r} cannot connect here")
        who = Who(role, body.get("client_id", ""), None)
        if role in ("runner", "container"):
            who.container = self._container(body)
            if self._members[who.container.id] >= _MEMBERS:
                raise exception.ResourceExhaustedError(f"a container may have {_MEMBERS} connections")
            if role == "container" and who.container.spec["restrict_access"]:
                raise exception.PermissionDeniedError(
                    "this function was made with restrict_modal_access: no platform access"
                )
        if role == "user" and (body.get("token_id") or not self._trusted):
            self._admit(who, body, incoming)
        elif role == "container":
            who.ward = guard.Ward(None, who.container)
        if incoming.peer in self._guests:
            del self._guests[incoming.peer]
        incoming.peer.identity = who
        incoming.peer.limit(None)
        if who.container is not None:
            self._whose[incoming.peer] = who.container.id
            self._members[who.container.id] += 1
        if role in ("user", "container"):
            clients = self._core.world.clients
            clients[who.client_id] = clients.get(who.client_id, 0) + 1
            if not self._trusted:
                self._core.world.remote.add(who.client_id)
            self._core.world.gone.pop(who.client_id, None)
        return {
            "version": VERSION,
            "protocol": spoken,
            "server_id": self._core.server_id,
            "workspace": self._core.settings.workspace,
            "environment": self._core.settings.environment,
        }

    def _admit(self, who: Who, body: common.HelloRequest, incoming: peer.Incoming) -> None:
        core, token_id = self._core, body.get("token_id", "")
        if not token_id:
            raise exception.AuthError(
                "this platform wants a token", hint="`windlass token new` makes one, `windlass token set` stores one."
            )
        try:
            who.principal = actions.principal(core, token_id, body.get("token_secret", ""), core.clock.now())
        except exception.AuthError:
            guard.note(core, None, "hello", {"token_id": token_id}, _source(incoming), "denied", name="?")
            raise
        most = core.settings.remote_lines_each
        if sum(1 for one in core.identity.connected.values() if one == token_id) >= most:
            raise exception.ResourceExhaustedError(
                f"this token has {most} connections already", hint="Close programs that use it, or give each its own."
            )
        who.ward = guard.Ward(who.principal, None)
        core.identity.connected[incoming.peer] = token_id

    def _container(self, body: common.HelloRequest) -> machines.Container:
        identity, token = body.get("container_id", ""), body.get("token", "")
        if not self._core.keyring.owns(identity, token):
            raise exception.AuthError("wrong token for this container")
        container = self._core.world.containers.get(identity)
        if container is None:
            raise exception.AuthError(f"container {identity} is no longer wanted")
        return container

    def _lost(self, lost: peer.Peer, exc: BaseException | None) -> None:
        assert isinstance(lost, link.Link)
        self._links.discard(lost)
        self._guests.pop(lost, None)
        self._core.identity.connected.pop(lost, None)
        if (container_id := self._whose.pop(lost, None)) is not None:
            self._members -= collections.Counter([container_id])
        self._core.blobs.abandon(lost)
        who: Who | None = lost.identity
        if who is None:
            return
        world = self._core.world
        if who.role in ("user", "container"):
            left = world.clients.get(who.client_id, 1) - 1
            if left:
                world.clients[who.client_id] = left
            else:
                world.clients.pop(who.client_id, None)
                world.remote.discard(who.client_id)
                world.gone[who.client_id] = self._core.clock.now()
        elif who.container is not None:
            containers.disconnected(self._core, who.container, lost)
        for callback in LOST:
            callback(self._core, who, lost)


def _source(incoming: peer.Incoming) -> str:
    """Where a request came from, for the audit log."""
    return str(getattr(incoming.peer, "source", ""))


async def answered(incoming: peer.Incoming, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and tell whoever asked where it fails."""
    try:
        await work
    except exception.Error as exc:
        incoming.fail(exc)
    except asyncio.TimeoutError:
        incoming.fail(exception.TimeoutError("the worker did not answer in time"))
    except BaseException:  # nobody waits for ever for the answer of a defect
        incoming.fail(exception.InternalError("this ended without an answer; `windlass server logs` says more"))
        raise
