"""The user's half of maps: pulls inputs from the user's iterators and gives out results, for ``for`` and ``async for``.

Everything here runs in the user's thread or event loop, because it runs the user's code: iterators, pickling and
unpickling. ``order_outputs`` holds back results that came early, at most ``HELD`` of them.
"""
from __future__ import annotations

import _thread
import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar

from windlass.client import bridge, inputs, invoke, outputs
from windlass.client import map as maps
from windlass.kit import tasks

R = TypeVar("R")

HELD = 10_000
"""Results that wait for an earlier one."""

_QUICK = 0.001  # seconds: an iterator that answers faster is read ahead even while results are ready


class Results(Generic[R]):
    """What ``map`` returns: an iterator for ``for`` and, from ``map.aio``, for ``async for``."""

    def __init__(
        self,
        *,
        ready: Callable[[], Any],
        name: str,
        source: inputs.Zipped | inputs.Starred,
        method: str = "",
        ordered: bool = True,
        return_exceptions: bool = False,
        kind: str = "map",
    ) -> None:
        self._ready = ready
        self._name = name
        self._source = source
        self._method = method
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._kind = kind
        self._engine: maps.Engine | None = None
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
        return engine.count - self._taken < maps.WINDOW and len(self._early) < HELD and not engine.full

    @property
    def _form(self) -> str:
        return f"{self._name}.{'starmap' if isinstance(self._source, inputs.Starred) else 'map'}"

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
        engine = self._engine = maps.Engine(function_id, self._name, self._kind, arrived, method=self._method)
        source: Iterator[Any] | None = None
        quick = True
        started = False
        try:
            source = iter(self._source)
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
        except GeneratorExit:
            raise
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
        engine = maps.Engine(function_id, self._name, self._kind, lambda: None, method=self._method)
        started = False
        for args in self._source:
            engine.put(invoke.pack(*args))
            if not started:
                started = True
                bridge.run(engine.run())
            self._raise_failure(engine)
            while engine.full:
                time.sleep(0.002)
        engine.close()
        if not started:
            return None
        bridge.run(engine.sent())
        self._raise_failure(engine)
        return engine.call_id

    def _raise_failure(self, engine: maps.Engine) -> None:
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
        engine = self._engine = maps.Engine(function_id, self._name, self._kind, arrived, method=self._method)
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
        except GeneratorExit:
            raise
        except BaseException as exc:  # noqa: BLE001 - edge of user code: raised again without our frames
            raise bridge.shown(exc)
        finally:
            self._over = True
            await feeder.close()
            if started:
                _leave(engine)

    async def _feed(self, engine: maps.Engine, room: asyncio.Event, news: asyncio.Event) -> None:
        turn = 0
        try:
            async for args in self._source:
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

    def _feeding_failed(self, engine: maps.Engine, exc: BaseException) -> None:
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
        engine = maps.Engine(function_id, self._name, self._kind, lambda: None, method=self._method)
        started = False
        async for args in self._source:
            engine.put(invoke.pack(*args))
            if not started:
                started = True
                await bridge.hop(engine.run())
            self._raise_failure(engine)
            while engine.full:
                await asyncio.sleep(0.002)
        engine.close()
        if not started:
            return None
        await bridge.hop(engine.sent())
        self._raise_failure(engine)
        return engine.call_id

    def __del__(self) -> None:
        if not getattr(self, "_begun", True):
            import warnings

            warnings.warn(f"the result of {self._form}(...) was never iterated, so nothing ran", stacklevel=2)


class Effect(Generic[R]):
    """A map whose results nobody takes, in its two forms."""

    def __init__(self, blocking: Callable[[], R], asynchronous: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self.blocking = blocking
        self.asynchronous = asynchronous


def _leave(engine: maps.Engine) -> None:
    """Stop the engine without waiting: also called when an abandoned map is collected."""
    bridge.start(engine.stop())
