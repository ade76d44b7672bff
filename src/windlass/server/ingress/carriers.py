"""The connections of runners to the edge. A container says who it is by its token, and answers what it was leased."""

from __future__ import annotations

import asyncio
import collections
import json
import logging
from typing import TYPE_CHECKING

from windlass import exception
from windlass.server.apply import cancel
from windlass.server.apply import core as core_module
from windlass.server.apply import web as actions
from windlass.server.ingress import exchanges
from windlass.wire import web

if TYPE_CHECKING:
    from windlass.server.state import machines, work

_log = logging.getLogger(__name__)
_GIVEN_BACK = 0.3  # seconds for a runner that leaves to be heard on its other connection
_HELLO = 4096
_PATIENCE = 10.0  # seconds to say hello
_GUESTS = 512  # connections that have not said hello, of all; the oldest of too many goes
_MEMBERS = 16  # connections of one container, which needs one: it must not take all that the server may open


class Carrier(asyncio.Protocol):
    def __init__(self, core: core_module.Core, table: exchanges.Table) -> None:
        self._core = core
        self._table = table
        self._transport: asyncio.Transport | None = None
        self._container: machines.Container | None = None
        self._hello = b""
        self._timer: asyncio.TimerHandle | None = None
        self._reader = web.Reader(self._frame)
        self._mine: dict[int, exchanges.Exchange] = {}
        self._leased: dict[int, work.Input] = {}
        """Inputs whose leases went this way, until their runner has said how they ended."""
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self.close)
        self._table.guests[self] = None
        if len(self._table.guests) > _GUESTS:
            oldest = next(iter(self._table.guests))
            del self._table.guests[oldest]
            oldest.close()

    def data_received(self, data: bytes) -> None:
        try:
            if self._container is None:
                data = self._greeted(data)
            if data:
                self._reader.feed(data)
        except exception.Error as exc:
            _log.warning("a web connection of a container was closed: %s", exc)
            self.close()

    def _greeted(self, data: bytes) -> bytes:
        """Who it is; returned is what follows."""
        self._hello += data
        line, found, rest = self._hello.partition(b"\n")
        if not found:
            if len(self._hello) > _HELLO:
                raise exception.InvalidError("no hello")
            return b""
        try:
            body = json.loads(line)
            ticket = str(body.get("ticket", ""))
            identity, token = ("", "") if ticket else (str(body["container_id"]), str(body["token"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise exception.InvalidError("malformed hello") from None
        if ticket:
            self._hand_over(ticket, rest)
            return b""
        if not self._core.keyring.owns(identity, token):
            raise exception.AuthError("wrong token for this container")
        container = self._core.world.containers.get(identity)
        if container is None:
            raise exception.AuthError(f"container {identity} is no longer wanted")
        if self._table.members[identity] >= _MEMBERS:
            raise exception.ResourceExhaustedError(f"a container may have {_MEMBERS} web connections")
        self._container = container
        self._table.members[identity] += 1
        self._table.guests.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        self._table.carriers[identity] = self
        return rest

    def _hand_over(self, ticket: str, rest: bytes) -> None:
        """It is for a visitor of somebody inside, and ours no more."""
        transport, self._transport = self._transport, None
        self._table.guests.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        if transport is not None and not self._table.visits.claim(ticket, transport, rest):
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._table.guests.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        if self._container is not None:
            self._table.members -= collections.Counter([self._container.id])
        if self._container is not None and self._table.carriers.get(self._container.id) is self:
            del self._table.carriers[self._container.id]
        if self._container is not None and self._container.direct is self:
            self._container.direct = None
        mine, self._mine = self._mine, {}
        for exchange in mine.values():
            exchange.lost()
        if self._leased:
            asyncio.get_running_loop().call_later(_GIVEN_BACK, self._lose_leases)

    def _lose_leases(self) -> None:
        """What was leased this way and was not given back, by the other connection, runs nowhere any more."""
        leased, self._leased = self._leased, {}
        for number, item in leased.items():
            if item.container is not self._container or item.call.done_at is not None:
                continue
            exchange = self._table.find(number)
            if exchange is not None and exchange.item is item:
                exchange.lost()
            self._core.turn.begin()
            cancel.cancel(self._core, item.call, why="the container's connection was lost")

    def lease(self, item: work.Input) -> None:
        """Send a lease; if it is lost, so is this connection, and the request with it."""
        call = item.call
        exchange = call.watchers[0] if call.watchers else None
        if not isinstance(exchange, exchanges.Exchange) or item.data.inline is None:
            return  # it has ended in the very same turn
        number = exchange.number
        self._leased[number] = item
        self.write(web.lease(number, item.id, call.id, item.attempt, call.method, item.data.inline))

    def _done(self, number: int, data: bytes) -> None:
        attempt, seconds, success = web.read_done(data)
        item, container = self._leased.pop(number, None), self._container
        if item is None or container is None or not success:
            return
        if container.held.get(item.id) is item and item.attempt == attempt:
            actions.succeeded(self._core, container, item, seconds)

    def _frame(self, kind: int, number: int, data: bytes) -> None:
        if kind == web.DONE:
            self._done(number, data)
            return
        if kind == web.LEASE:
            if self._container is not None:
                self._container.direct = self
            return
        exchange = self._mine.get(number)
        if exchange is None:
            exchange = self._bound(number)
            if exchange is None:
                return
        exchange.take(kind, data)

    def _bound(self, number: int) -> exchanges.Exchange | None:
        """A request that this container was leased."""
        exchange = self._table.find(number)
        if exchange is None or exchange.carrier is not None or exchange.item is None:
            return None
        if exchange.item.container is not self._container:  # it may have ended already, by the other connection
            return None
        exchange.carrier = self
        self._mine[number] = exchange
        return exchange

    def unbind(self, exchange: exchanges.Exchange) -> None:
        self._mine.pop(exchange.number, None)

    def write(self, data: bytes) -> None:
        """At the end of the loop's turn, together with what else there is."""
        if self._transport is None:
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self.flush)
        self._out.append(data)

    def flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.writelines(out)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
