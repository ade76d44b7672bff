"""Maps: inputs are read lazily in the user's thread, sent in batches, and results come back as they end.

    user's thread (or loop)                    library's loop
    next(results)
      pull input, pickle ──► outbox ────────►  send: call.put, as many as have gathered
      take, unpickle     ◄── inbox  ◄────────  receive: stream of outputs, resumed after lost connections

At most ``WINDOW`` inputs are outstanding, so endless iterators are fine. This is the library's half; ``results`` is
the user's.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from windlass import exception
from windlass.client import blobs, bridge, here, output, outputs, session, tracing
from windlass.kit import ids, tasks
from windlass.wire import codec
from windlass.wire.messages import calls

WINDOW = 1000
"""Inputs sent whose outputs have not arrived."""

BATCH = 100
PUTS = 6
"""Messages with inputs that are on their way to a far platform at once."""
BATCH_BYTES = 4 * 1024 * 1024
PATIENT = 8
"""Refusals in a row, because too much waits already, after which the person is told."""
MAX_DELAY = 15.0
"""Seconds between two tries, at most."""

QUEUED_BYTES = 64 * 1024 * 1024
"""Bytes of inputs that wait for being sent, beyond which no more are read."""


class Engine:
    """The library's half of a map: sends inputs, receives outputs. ``arrived`` may be called from any thread."""

    def __init__(
        self, function_id: str, name: str, kind: str, arrived: Callable[[], object], *, method: str = ""
    ) -> None:
        self.call_id = ids.new("fc")
        self.inbox: deque[outputs.Arrived | BaseException] = deque()
        self.count = 0
        """Inputs handed over so far."""
        self._function_id = function_id
        self._method = method
        self._name = name
        self._kind = kind
        self._parent = here.input_id.get()
        self._arrived = arrived
        self._outbox: deque[bytes] = deque()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._closed = False
        self._home: session.Session | None = None
        self._work: asyncio.Event | None = None
        self._signalled = False
        self._sent = 0
        self._puts: deque[asyncio.Task[None]] = deque()
        self._ended: set[int] = set()
        self._ended_below = 0
        self._over = False
        self._span = tracing.begin(f"{name}.{kind}")
        self._traceparent = self._span.text if self._span is not None else tracing.ambient()
        self._show = output.current()
        self._owner = tasks.Tasks(on_failure=self._failed)

    # -- called from the user's thread --

    def put(self, data: bytes) -> None:
        """Hand an input over; it is sent as soon as the library's loop gets to it."""
        self.count += 1
        self._put_bytes += len(data)
        self._outbox.append(data)
        self._signal()

    def close(self) -> None:
        """No more inputs."""
        self._closed = True
        self._signal()

    @property
    def full(self) -> bool:
        """Whether inputs come faster than they can be sent; ``arrived`` is called when that is over."""
        return len(self._outbox) > WINDOW or self._put_bytes - self._taken_bytes > QUEUED_BYTES

    def _signal(self) -> None:
        if not self._signalled:
            self._signalled = True
            bridge.library().loop.call_soon_threadsafe(self._wake)

    # -- on the library's loop --

    async def run(self) -> None:
        """Start sending and receiving. Returns at once."""
        self._home = session.current()
        self._work = asyncio.Event()
        if self._outbox or self._closed:
            self._work.set()
        if self._kind == "map":
            self._show.map_started(self.call_id, self._name)
        self._owner.start(self._send(), "map inputs")

    async def stop(self) -> None:
        """Give up: cancel whatever is still outstanding."""
        await self._owner.close()
        if self._span is not None:
            self._span.end()
        if not self._over and self._sent and self._home is not None:
            self._over = True
            self._home.post_request("call.cancel", {"call_id": self.call_id})
        self._show.map_ended(self.call_id)

    async def sent(self) -> None:
        """Wait until every input is with the server (for calls that nobody waits for)."""
        while self._owner:
            await asyncio.sleep(0.002)

    def _wake(self) -> None:
        self._signalled = False
        if self._work is not None:
            self._work.set()

    async def _send(self) -> None:
        assert self._work is not None and self._home is not None
        created = False
        while True:
            await self._work.wait()
            self._work.clear()
            while self._outbox or (self._closed and not self._outbox):
                items, attachments = await self._batch()
                closed = self._closed and not self._outbox
                body: dict[str, Any] = {"call_id": self.call_id, "inputs": items, "closed": closed}
                if created:
                    await self._put_inputs(body, attachments)
                elif items:
                    body.update(function_id=self._function_id, kind=self._kind, parent_input_id=self._parent)
                    if self._method:
                        body["method"] = self._method
                    if self._traceparent:
                        body["traceparent"] = self._traceparent
                    await self._admitted("call.create", body, attachments)
                    created = True
                    if self._kind != "spawn":
                        self._owner.start(self._receive(), "map outputs")
                self._sent += len(items)
                if closed:
                    return

    async def _put_inputs(self, body: dict[str, Any], attachments: list[codec.Bytes]) -> None:
        """To a far platform several messages are on their way at once: it would wait for each. The last goes alone."""
        assert self._home is not None
        if self._home.is_beside:
            await self._admitted("call.put", body, attachments)
            return
        while len(self._puts) > (0 if body["closed"] else PUTS - 1):
            await asyncio.wait({self._puts.popleft()})  # how it failed is known already
        put = self._owner.start(self._admitted("call.put", body, attachments), "map inputs")
        if body["closed"]:
            await asyncio.wait({put})
        else:
            self._puts.append(put)

    async def _admitted(self, method: str, body: dict[str, Any], attachments: list[codec.Bytes]) -> None:
        """Ask until the server takes it: while too much waits there, a map waits here."""
        assert self._home is not None
        delay, refused = 0.05, 0
        while True:
            try:
                await self._home.request(method, body, attachments)
                return
            except exception.ResourceExhaustedError as exc:
                refused += 1
                if refused == PATIENT:
                    self._show.notice(f"{self._name}.map waits to send more inputs: {exc}")
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_DELAY)

    async def _batch(self) -> tuple[list[calls.InputItem], list[codec.Bytes]]:
        assert self._home is not None
        items: list[calls.InputItem] = []
        attachments: list[codec.Bytes] = []
        size, index, was_full = 0, self._sent, self.full
        while self._outbox and len(items) < BATCH and size < BATCH_BYTES:
            data = self._outbox.popleft()
            size += len(data)
            items.append({"index": index, "payload": await blobs.pack(self._home, data, attachments)})
            index += 1
        self._taken_bytes += size
        if was_full and not self.full:
            self._arrived()
        return items, attachments

    async def _receive(self) -> None:
        assert self._home is not None
        query: calls.OutputQuery = {"call_id": self.call_id, "after": 0}
        async for batch, attachments in outputs.follow(self._home, query):
            fresh = False
            for one in batch["outputs"]:
                if self._note(one["index"]):
                    self.inbox.append(await outputs.unpack(self._home, one, attachments))
                    fresh = True
            if fresh:
                self._show.map_progress(self.call_id, self._ended_below + len(self._ended), self.count, self._closed)
                self._arrived()
        self._over = True
        self._arrived()

    def _note(self, index: int) -> bool:
        """Whether this output is the first for its input."""
        if index < self._ended_below or index in self._ended:
            return False
        self._ended.add(index)
        while self._ended_below in self._ended:
            self._ended.discard(self._ended_below)
            self._ended_below += 1
        return True

    def _failed(self, name: str, exc: BaseException) -> None:
        self.inbox.append(exc)
        self._arrived()
