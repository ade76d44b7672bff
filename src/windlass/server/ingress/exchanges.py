"""A request on its way: what has come back from its container, and how its input ended.

An exchange is the watcher of its call (``apply.outputs``). It is bound to the carrier of the container that holds the
lease, by the first frame that comes for it from there, and to no other.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from windlass import exception
from windlass.server.apply import calls, cancel, dispatch
from windlass.server.apply import core as core_module
from windlass.server.apply import web as actions
from windlass.server.decide import sessions
from windlass.server.ingress import answers, visits
from windlass.server.state import machines, moves, work
from windlass.server.state import web as state
from windlass.wire import web

if TYPE_CHECKING:
    from windlass.server.ingress import carriers

_log = logging.getLogger(__name__)
_LARGE = 16 * 1024
_FAREWELL = 1.0  # seconds for an app to end by itself when its client has gone
_LATE = 5.0  # seconds for a response to arrive after its input has ended
_ANSWERED = frozenset({moves.Status.SUCCESS, moves.Status.FAILURE, moves.Status.TIMEOUT})
LOST = -1
"""Instead of a status: the connection to the container is gone."""


class Exchange:
    __slots__ = (
        "arrived", "call", "carrier", "complete", "core", "credit", "item", "number", "over", "position", "refused",
        "status", "table", "told", "waiters", "whole",
    )  # fmt: skip

    def __init__(self, table: Table, number: int) -> None:
        self.table = table
        self.core = table.core
        self.number = number
        self.call: work.Call | None = None
        self.item: work.Input | None = None
        self.carrier: carriers.Carrier | None = None
        self.arrived: collections.deque[tuple[int, bytes]] = collections.deque()
        self.credit = 0
        """Bytes that the runner still takes."""
        self.complete = False
        """Whether the whole response has arrived."""
        self.status: int | None = None
        """How the input ended."""
        self.refused = 0
        """The edge's own answer to a request that turned out to be bad."""
        self.over = False
        """Whether nothing comes any more."""
        self.position = 0
        self.told: Callable[[], None] | None = None
        """Is called when something has arrived, in the place of ``waiters``."""
        self.whole: bytes | None = None
        """A response that came in one frame, for the one who is ``told``."""
        self.waiters: list[asyncio.Future[None]] = []

    # -- from the call (``apply.outputs``) ----------------------------------------------------------------

    def push(self, fresh: list[work.Output]) -> None:
        for output in fresh:
            self.position = output.seq
            self.status = output.status
        if self.call is not None and self.call.done_at is not None and self in self.call.watchers:
            self.call.watchers.remove(self)
        if self.status in _ANSWERED and not self.complete and not self.over:
            # The end came by another connection: what the app has said may still be on its way.
            asyncio.get_running_loop().call_later(_LATE, self._late)
        else:
            self.over = True
            self._wake()

    def _late(self) -> None:
        self.over = True
        self._wake()

    # -- from the carrier ---------------------------------------------------------------------------------

    def take(self, kind: int, data: bytes) -> None:
        if kind == web.CREDIT:
            self.credit += int.from_bytes(data[:4], "big")
        elif kind == web.GONE:
            self.over = True  # the runner has said all; why it ended is said by the input's end
        elif kind == web.WHOLE:
            self.complete, self.whole = True, data
            if self.told is None:
                self.part()
        else:
            self.arrived.append((kind, data))
            self.complete = self.complete or kind == web.END
        if self.complete and self.item is not None:
            self.item.answered = True
        self._wake()

    def part(self) -> None:
        """Who answers wants it in parts."""
        if self.whole is not None:
            self.arrived += answers.parted(self.whole)
            self.whole = None

    def lost(self) -> None:
        if not self.complete and self.status is None:
            self.status = LOST
            self.cancel()
        self.over = True
        self._wake()

    # -- for the one who answers --------------------------------------------------------------------------

    async def next(self) -> tuple[int, bytes]:
        """The next frame. ``(GONE, b"")``: no more will come, ``status`` says why."""
        while not self.arrived:
            if self.over and self.status is not None:
                return web.GONE, b""
            await self.wait()
        return self.arrived.popleft()

    def taken(self, size: int) -> None:
        """So many bytes have gone to the client."""
        if self.carrier is not None and size:
            self.carrier.write(web.credit(self.number, size))

    def send(self, kind: int, data: bytes = b"") -> None:
        if self.carrier is not None:
            self.credit -= len(data)
            if len(data) < _LARGE:
                self.carrier.write(web.pack(kind, self.number, data))
            else:  # without a copy
                self.carrier.write(web.header(kind, self.number, len(data)))
                self.carrier.write(data)

    async def first(self, seconds: float) -> tuple[int, bytes] | None:
        """The same, or None when nothing comes for so long."""
        late = False

        def wake() -> None:
            nonlocal late
            late = True
            self._wake()

        timer = asyncio.get_running_loop().call_later(seconds, wake)
        try:
            while not self.arrived and not (self.over and self.status is not None):
                if late:
                    return None
                await self.wait()
            return await self.next()
        finally:
            timer.cancel()

    async def wait(self) -> None:
        """Until something has arrived."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        if self.told is not None:
            self.told()
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def gone(self) -> None:
        """The client has gone: tell the app, and soon end its input."""
        if self.call is None or self.item is None or self.call.done_at is not None:
            return
        container = self.item.container
        carrier = self.table.carriers.get(container.id) if container is not None else None
        if carrier is None:
            self.cancel()
        else:
            carrier.write(web.pack(web.GONE, self.number))
            asyncio.get_running_loop().call_later(_FAREWELL, self.cancel)

    def refuse(self, status: int) -> None:
        """The request itself is bad: this is its answer, if none has begun."""
        self.refused = status
        self.arrived.appendleft((web.GONE, b""))
        self.gone()
        self._wake()

    def cancel(self) -> None:
        if self.call is not None and self.call.done_at is None:
            self.core.turn.begin()
            cancel.cancel(self.core, self.call, why="the client has gone")

    def close(self) -> None:
        """Forget it; whatever still comes for it is dropped."""
        self.table.forget(self)


class Table:
    """All requests under way, by their number."""

    def __init__(self, core: core_module.Core) -> None:
        self.core = core
        self._exchanges: dict[int, Exchange] = {}
        self.carriers: dict[str, carriers.Carrier] = {}
        """By container."""
        self.guests: dict[carriers.Carrier, None] = {}
        """Connections that have not said whose they are."""
        self.members: collections.Counter[str] = collections.Counter()
        """How many connections each container has."""
        self.visits = visits.Visits()
        self._last = 0

    def begin(
        self, route: state.Route, query: str, head: bytes, body: bytes | None, session: str | None = None
    ) -> Exchange:
        """Make the input of a request. ``head`` is what its runner must know. ``session``: whose it is.

        Raises ``Refusal``.
        """
        function = self._pool(route, query)
        container = self._container(function, session) if route.web.get("stateless") else None
        self._last = self._last % 0xFFFFFFFF + 1
        made = Exchange(self, self._last)
        payload = actions.payload(web.numbered(made.number, head), body)
        data = work.Data(payload, None, len(payload))
        try:
            made.item = calls.transient(self.core, function, route.method, data, made)
            made.call = made.item.call
        except exception.ResourceExhaustedError:
            raise answers.Refusal(429, answers.BUSY, retry_after="1") from None
        except exception.Error:
            raise answers.Refusal(404, answers.NOTHING_HERE) from None
        if container is not None:
            dispatch.lease_to(self.core, container, made.item)
        self._exchanges[made.number] = made
        return made

    def _container(self, function: machines.Function, session: str | None) -> machines.Container:
        """The one that answers, of a server: its requests do not wait."""
        chosen = actions.container(self.core, function, (session or "")[: sessions.LONGEST])
        if isinstance(chosen, machines.Container):
            return chosen
        raise answers.Refusal(503, answers.FULL if chosen else answers.NOT_READY, retry_after="1")

    def _pool(self, route: state.Route, query: str) -> machines.Function:
        try:
            return actions.pool(self.core, route, query)
        except exception.InvalidError as exc:
            raise answers.Refusal(400, str(exc)) from None
        except exception.ResourceExhaustedError:
            raise answers.Refusal(429, answers.BUSY, retry_after="1") from None

    def find(self, number: int) -> Exchange | None:
        return self._exchanges.get(number)

    def forget(self, exchange: Exchange) -> None:
        self._exchanges.pop(exchange.number, None)
        if exchange.carrier is not None:
            exchange.carrier.unbind(exchange)

    def __len__(self) -> int:
        return len(self._exchanges)
