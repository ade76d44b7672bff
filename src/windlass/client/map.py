"""Maps: inputs are read lazily in the user's thread, sent in batches, and results come back as they end.

    user's thread (or loop)                    library's loop
    next(results)
      pull input, pickle ──► outbox ────────►  send: call.put, as many as have gathered
      take, unpickle     ◄── inbox  ◄────────  receive: stream of outputs, resumed after lost connections

At most ``WINDOW`` inputs are outstanding, so endless iterators are fine. Results wait in the inbox in the order
of completion; ``order_outputs`` holds back those that came early, at most ``HELD`` of them.
"""
from __future__ import annotations

import _thread
import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar

from windlass import exception
from windlass.client import blobs, bridge, here, invoke, output, outputs, session
from windlass.kit import ids, tasks
from windlass.wire import codec
from windlass.wire.messages import calls

R = TypeVar("R")

WINDOW = 1000
"""Inputs sent whose outputs have not arrived."""

HELD = 10_000
"""Outputs that wait for an earlier one, or for a consumer."""

BATCH = 100
BATCH_BYTES = 4 * 1024 * 1024
_QUICK = 0.001  # seconds: an iterator that answers faster is read ahead even while results are ready


class Engine:
    """The library's half of a map: sends inputs, receives outputs. ``arrived`` may be called from any thread."""

    def __init__(self, function_id: str, name: str, kind: str, arrived: Callable[[], object]) -> None:
        self.call_id = ids.new("fc")
        self.inbox: deque[outputs.Arrived | BaseException] = deque()
        self.count = 0
        """Inputs handed over so far."""
        self._function_id = function_id
        self._name = name
        self._kind = kind
        self._parent = here.input_id.get()
        self._arrived = arrived
        self._outbox: deque[bytes] = deque()
        self._closed = False
        self._home: session.Session | None = None
        self._work: asyncio.Event | None = None
        self._signalled = False
        self._sent = 0
        self._ended: set[int] = set()
        self._ended_below = 0
        self._over = False
        self._show = output.current()
        self._owner = tasks.Tasks(on_failure=self._failed)

    # -- called from the user's thread --

    def put(self, data: bytes) -> None:
        """Hand an input over; it is sent as soon as the library's loop gets to it."""
        self.count += 1
        self._outbox.append(data)
        self._signal()

    def close(self) -> None:
        """No more inputs."""
        self._closed = True
        self._signal()

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
                    await self._home.request("call.put", body, attachments)
                elif items:
                    body.update(function_id=self._function_id, kind=self._kind, parent_input_id=self._parent)
                    await self._home.request("call.create", body, attachments)
                    created = True
                    if self._kind != "spawn":
                        self._owner.start(self._receive(), "map outputs")
                self._sent += len(items)
                if closed:
                    return

    async def _batch(self) -> tuple[list[calls.InputItem], list[codec.Bytes]]:
        assert self._home is not None
        items: list[calls.InputItem] = []
        attachments: list[codec.Bytes] = []
        size, index = 0, self._sent
        while self._outbox and len(items) < BATCH and size < BATCH_BYTES:
            data = self._outbox.popleft()
            size += len(data)
            items.append({"index": index, "payload": await blobs.pack(self._home, data, attachments)})
            index += 1
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


class Results(Generic[R]):
    """What ``map`` returns: an iterator for ``for`` and, from ``map.aio``, for ``async for``.

    ``pull`` yields ``(args, kwargs)`` for each input; it is consumed in the user's thread or loop.
    """

    def __init__(
        self,
        *,
        ready: Callable[[], Any],
        name: str,
        inputs: Callable[[], Iterator[Any]],
        inputs_aio: Callable[[], AsyncIterator[Any]],
        ordered: bool = True,
        return_exceptions: bool = False,
        kind: str = "map",
    ) -> None:
        self._ready = ready
        self._name = name
        self._inputs = inputs
        self._inputs_aio = inputs_aio
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._kind = kind
        self._engine: Engine | None = None
        self._early: dict[int, outputs.Arrived] = {}
        self._next = 0
        self._taken = 0
        self._begun = False
        self._over = False
        self._iterator: Generator[R, None, None] | None = None
        self._aiterator: AsyncGenerator[R, None] | None = None

    # -- what both faces share --

    def _take(self) -> outputs.Arrived | None:
        """The next result that may be given out now."""
        if self._ordered and self._next in self._early:
            self._next += 1
            return self._early.pop(self._next - 1)
        engine = self._engine
        assert engine is not None
        while engine.inbox:
            arrived = engine.inbox.popleft()
            if isinstance(arrived, BaseException):
                raise arrived
            self._taken += 1
            index = arrived.output["index"]
            if not self._ordered:
                return arrived
            if index == self._next:
                self._next += 1
                return arrived
            self._early[index] = arrived
        return None

    def _has_room(self) -> bool:
        engine = self._engine
        assert engine is not None
        return engine.count - self._taken < WINDOW and len(self._early) < HELD

    def _open(self, arrived: outputs.Arrived) -> R:
        result: R = arrived.open_or_error() if self._return_exceptions else arrived.open()
        return result

    # -- blocking --

    def __iter__(self) -> Iterator[R]:
        if self._iterator is None:
            self._begun = True
            self._iterator = self._blocking()
        return self._iterator

    def __next__(self) -> R:
        return next(iter(self))

    def close(self) -> None:
        """Give the map up: inputs that have not ended are cancelled."""
        if self._iterator is not None:
            self._iterator.close()

    def _blocking(self) -> Generator[R, None, None]:
        lock = _thread.allocate_lock()
        lock.acquire()

        def arrived() -> None:
            try:
                lock.release()
            except RuntimeError:  # released already: the consumer has not looked yet
                pass

        function_id = bridge.run(self._ready())
        engine = self._engine = Engine(function_id, self._name, self._kind, arrived)
        source: Iterator[Any] | None = None
        quick = True
        started = False
        try:
            source = self._inputs()
            while True:
                ready = self._take()
                if source is not None and self._has_room() and (ready is None or quick):
                    began = time.perf_counter()
                    args: Any = next(source, None)
                    if args is None:
                        source = None
                        if not engine.count:
                            return
                        engine.close()
                    else:
                        engine.put(invoke.pack(*args))
                    if not started:
                        started = True
                        bridge.start(engine.run())
                    quick = time.perf_counter() - began < _QUICK
                    if ready is None:
                        continue
                if ready is not None:
                    yield self._open(ready)
                elif source is None and self._finished():
                    return
                else:
                    lock.acquire()
        except BaseException as exc:  # noqa: BLE001 - edge of user code: raised again without our frames
            raise bridge.shown(exc)
        finally:
            self._over = True
            if started:
                _leave(engine)

    def _finished(self) -> bool:
        engine = self._engine
        assert engine is not None
        return self._taken >= engine.count and not self._early

    def exhaust(self) -> None:
        """Run the map for its effects."""
        for _ in iter(self):
            pass

    def submit(self) -> str | None:
        """Only enqueue the inputs, for calls that nobody waits for. Returns the call's id, None without inputs."""
        self._begun = True
        function_id = bridge.run(self._ready())
        engine = Engine(function_id, self._name, self._kind, lambda: None)
        started = False
        for args in self._inputs():
            engine.put(invoke.pack(*args))
            if not started:
                started = True
                bridge.run(engine.run())
            self._raise_failure(engine)
            while len(engine._outbox) > WINDOW:
                time.sleep(0.002)
        engine.close()
        if not started:
            return None
        bridge.run(engine.sent())
        self._raise_failure(engine)
        return engine.call_id

    def _raise_failure(self, engine: Engine) -> None:
        if engine.inbox:
            failure = engine.inbox.popleft()
            if isinstance(failure, BaseException):
                raise bridge.shown(failure)

    # -- in the user's event loop --

    def __aiter__(self) -> AsyncIterator[R]:
        if self._aiterator is None:
            self._begun = True
            self._aiterator = self._asynchronous()
        return self._aiterator

    async def __anext__(self) -> R:
        return await self.__aiter__().__anext__()

    async def aclose(self) -> None:
        """Give the map up, see ``close``."""
        if self._aiterator is not None:
            await self._aiterator.aclose()

    async def _asynchronous(self) -> AsyncGenerator[R, None]:
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def arrived() -> None:
            try:
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:  # the user's loop was closed: nobody waits
                pass

        function_id = await bridge.hop(self._ready())
        engine = self._engine = Engine(function_id, self._name, self._kind, arrived)
        feeder = tasks.Tasks(on_failure=lambda name, exc: self._feeding_failed(engine, exc))
        started = False
        room = asyncio.Event()
        feeding = feeder.start(self._feed(engine, room, news), "map feeder")
        try:
            while True:
                ready = self._take()
                room.set()
                if engine.count and not started:
                    started = True
                    await bridge.hop(engine.run())
                if ready is not None:
                    yield self._open(ready)
                elif feeding.done() and not engine.inbox and self._finished():
                    return
                else:
                    await news.wait()
                    news.clear()
        except BaseException as exc:  # noqa: BLE001 - edge of user code: raised again without our frames
            raise bridge.shown(exc)
        finally:
            self._over = True
            await feeder.close()
            if started:
                _leave(engine)

    async def _feed(self, engine: Engine, room: asyncio.Event, news: asyncio.Event) -> None:
        turn = 0
        try:
            async for args in self._inputs_aio():
                while not self._has_room():
                    room.clear()
                    await room.wait()
                engine.put(invoke.pack(*args))
                turn += 1
                if turn == 1:
                    news.set()
                if turn % 50 == 0:
                    await asyncio.sleep(0)  # other tasks of this loop, results included, get their turn
        finally:
            engine.close()
            asyncio.get_running_loop().call_soon(news.set)

    def _feeding_failed(self, engine: Engine, exc: BaseException) -> None:
        engine.inbox.append(exc)
        engine._arrived()

    async def aexhaust(self) -> None:
        """Run the map for its effects."""
        async for _ in self:
            pass

    async def asubmit(self) -> str | None:
        """Only enqueue the inputs, see ``submit``."""
        self._begun = True
        function_id = await bridge.hop(self._ready())
        engine = Engine(function_id, self._name, self._kind, lambda: None)
        started = False
        async for args in self._inputs_aio():
            engine.put(invoke.pack(*args))
            if not started:
                started = True
                await bridge.hop(engine.run())
            self._raise_failure(engine)
            while len(engine._outbox) > WINDOW:
                await asyncio.sleep(0.002)
        engine.close()
        if not started:
            return None
        await bridge.hop(engine.sent())
        self._raise_failure(engine)
        return engine.call_id

    def __del__(self) -> None:
        if not self._begun:
            import warnings

            warnings.warn(f"the result of {self._name}.map(...) was never iterated, so nothing ran", stacklevel=2)


class Effect(Generic[R]):
    """A map whose results nobody takes, in its two forms."""

    def __init__(self, blocking: Callable[[], R], asynchronous: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self.blocking = blocking
        self.asynchronous = asynchronous


def _leave(engine: Engine) -> None:
    """Stop the engine without waiting: also called when an abandoned map is collected."""
    bridge.start(engine.stop())


def zipped(iterables: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """Arguments of each input of ``map``: the shortest iterable ends it."""
    for item in iterables:
        if not hasattr(item, "__iter__") and hasattr(item, "__aiter__"):
            raise exception.InvalidError("an async iterable can only be mapped with map.aio(...)")
    for args in zip(*iterables, strict=False):
        yield args, kwargs


async def zipped_aio(iterables: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
    """The same for sync and async iterables, in the user's loop."""
    if not any(hasattr(item, "__aiter__") for item in iterables):
        for args in zip(*iterables, strict=False):
            yield args, kwargs
        return
    sources = [_as_async(item) for item in iterables]
    while True:
        row = []
        for source in sources:
            try:
                row.append(await source.__anext__())
            except StopAsyncIteration:
                return
        yield tuple(row), kwargs


def starred(iterable: Any, kwargs: dict[str, Any]) -> Iterator[Any]:
    """Arguments of each input of ``starmap``."""
    for item in iterable:
        yield tuple(item), kwargs


async def starred_aio(iterable: Any, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
    async for item in _as_async(iterable):
        yield tuple(item), kwargs


async def _as_async(iterable: Any) -> AsyncIterator[Any]:
    if hasattr(iterable, "__aiter__"):
        async for item in iterable:
            yield item
    else:
        for item in iterable:
            yield item
