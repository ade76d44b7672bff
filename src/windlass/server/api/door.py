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
from windlass.server.api import shapes
from windlass.server.apply import containers
from windlass.server.apply import core as core_module
from windlass.server.bus import link
from windlass.server.state import machines
from windlass.wire import codec, peer
from windlass.wire.messages import common, methods

_log = logging.getLogger(__name__)
Core = core_module.Core
VERSION: str = getattr(windlass, "__version__", "0.1.0")

_GUESTS = 512  # connections that have not said hello
_GUEST_FRAME = 65536  # bytes of what they may say
_MEMBERS = 256  # connections of one container: it must not take all that the server may open

_fast_encode = msgspec.json.Encoder().encode
_fast_decode = msgspec.json.Decoder().decode


class Who:
    """Who is at the other end of a connection. ``container`` for runners and the SDK inside containers."""

    __slots__ = ("client_id", "container", "role")

    def __init__(self, role: str, client_id: str, container: machines.Container | None) -> None:
        self.role = role
        self.client_id = client_id
        self.container = container


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
    """Makes the two ends of the server's sockets. ``roles``: who may enter here."""

    def __init__(self, core: Core, roles: frozenset[str], links: set[link.Link]) -> None:
        self._core = core
        self._roles = roles
        self._links = links

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
            raise exception.PermissionDeniedError(f"a {who.role} may not use {method}")
        try:
            body = msgspec.convert(incoming.body, shapes.bounded(known.request))
        except msgspec.ValidationError as exc:
            raise exception.InvalidError(f"{method}: {exc}") from None
        for key in _NEEDS[method]:
            if key not in body:
                raise exception.InvalidError(f"{method}: {key} is missing")
        return answer(self._core, who, body, incoming)

    def _hello(self, incoming: peer.Incoming) -> common.HelloReply:
        try:
            body = msgspec.convert(incoming.body, shapes.bounded(common.HelloRequest))
        except msgspec.ValidationError as exc:
            raise exception.InvalidError(f"hello: {exc}") from None
        if body.get("protocol") != wire.PROTOCOL:
            raise exception.VersionError(
                f"this server (Windlass {VERSION}) speaks protocol {wire.PROTOCOL}; "
                f"you (Windlass {body.get('version', '?')}) speak {body.get('protocol')}",
                hint="Install the same version on both sides, then run `windlass server restart`.",
            )
        role = body.get("role", "")
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
            self._core.world.gone.pop(who.client_id, None)
        return {
            "version": VERSION,
            "protocol": wire.PROTOCOL,
            "server_id": self._core.server_id,
            "workspace": self._core.settings.workspace,
            "environment": self._core.settings.environment,
        }

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
                world.gone[who.client_id] = self._core.clock.now()
        elif who.container is not None:
            containers.disconnected(self._core, who.container, lost)
        for callback in LOST:
            callback(self._core, who, lost)


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
