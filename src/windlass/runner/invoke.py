"""Running one input: plain and async functions, generators of both kinds, and every way in which they can end."""
from __future__ import annotations

import time

from windlass.runner import interrupts as interrupts_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import Any

    from windlass.runner import served as served_module

    Emit = Callable[[Any], None]
    """Takes one value of a generator. Raises nothing of ours into user code: it runs with the door shut."""


class Ended(Exception):
    """How user code ended other than by returning. ``why``: "" (raised by itself), or why we interrupted it."""

    def __init__(self, cause: BaseException, why: str) -> None:
        super().__init__(cause, why)
        self.cause = cause
        self.why = why


class Loop:
    """The event loop of the main thread, made for the first async function."""

    def __init__(self) -> None:
        import asyncio

        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)

    def run(self, awaitable: Awaitable[Any], interrupts: interrupts_module.Door) -> Any:
        task = self.loop.create_task(awaited(awaitable))
        interrupts.async_begin(lambda: self.loop.call_soon_threadsafe(task.cancel))
        try:
            return self.loop.run_until_complete(task)
        finally:
            interrupts.async_end()

    def complete(self, awaitable: Awaitable[Any]) -> Any:
        """Run something that no interrupt is meant for."""
        return self.loop.run_until_complete(awaited(awaitable))

    def wait_readable(self, *descriptors: int, seconds: float) -> None:
        """Let the user's tasks run until one of these has something to read, or so long."""
        future = self.loop.create_future()

        def readable() -> None:
            if not future.done():
                future.set_result(None)

        for fd in descriptors:
            self.loop.add_reader(fd, readable)
        timer = self.loop.call_later(seconds, readable)
        try:
            self.loop.run_until_complete(future)
        finally:
            timer.cancel()
            for fd in descriptors:
                self.loop.remove_reader(fd)

    def close(self) -> None:
        import asyncio

        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


async def awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class Invoker:
    """Calls what is served, once for each input."""

    def __init__(self, served: served_module.Served, *, interrupts: interrupts_module.Door) -> None:
        self._served = served
        self._interrupts = interrupts

    @property
    def loop(self) -> Loop | None:
        return self._served.loop

    def run(
        self,
        lease: object,
        callee: served_module.Callee,
        args: Any,
        kwargs: Any,
        *,
        emit: Emit,
        began: Callable[[], None],
    ) -> tuple[Any, float]:
        """The value (for a generator: how many it yielded) and the seconds it took. Raises ``Ended``."""
        interrupts = self._interrupts
        interrupts.begin(lease)
        error: BaseException | None = None
        value: Any = None
        start = time.perf_counter()
        began()
        try:
            # Two layers: a signal may arrive in the very act of shutting the door, after user code has ended.
            try:
                interrupts.open()
                value = callee.function(*args, **kwargs)
                if callee.is_generator:
                    value = self._iterate(value, emit)
                elif callee.is_async or type(value).__name__ == "coroutine":
                    interrupts.shut()
                    value = self._await(value)
            finally:
                interrupts.shut()
        except BaseException as exc:  # noqa: BLE001 - the edge of user code
            interrupts.shut()
            error = exc
        seconds = time.perf_counter() - start
        why = interrupts.end()
        if error is None and why in (interrupts_module.CANCEL, interrupts_module.TIMEOUT):
            error = InterruptedError("the interrupt was swallowed")
        if error is None:
            return value, seconds
        try:
            raise Ended(error, why) from None
        finally:
            del error  # its traceback refers to this frame: the user's objects would live until the next collection

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        return self._served.needs_loop().run(awaitable, self._interrupts)

    def _iterate(self, values: Any, emit: Emit) -> int:
        if hasattr(values, "__aiter__"):
            self._interrupts.shut()
            return int(self._await(_drain(values.__aiter__(), emit)))
        return self._drain(iter(values), emit)

    def _drain(self, values: Iterator[Any], emit: Emit) -> int:
        """The door is open only while the generator runs, shut while its value is sent."""
        interrupts = self._interrupts
        count = 0
        try:
            for value in values:
                interrupts.shut()
                emit(value)
                count += 1
                interrupts.open()
        finally:
            close = getattr(values, "close", None)
            if close is not None:
                close()
        return count


async def _drain(values: AsyncIterator[Any], emit: Emit) -> int:
    count = 0
    try:
        async for value in values:
            emit(value)
            count += 1
    finally:
        close = getattr(values, "aclose", None)
        if close is not None:
            await close()
    return count
