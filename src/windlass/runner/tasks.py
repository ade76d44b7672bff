"""Inputs of async functions, as tasks of the main thread's event loop."""
from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from windlass.client import here
from windlass.runner import interrupts, invoke
from windlass.wire import payload

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncIterator, Callable

    from windlass.runner import outcome, units
    from windlass.runner import outputs as outputs_module
    from windlass.runner import work as work_module


class Tasks:
    """``arguments`` reads those of a lease; ``done`` is called on the loop when a run has been told; ``leave`` when
    user code means to end the container."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: work_module.Work,
        outcomes: outcome.Outcomes,
        *,
        context: contextvars.Context,
        arguments: units.Arguments,
        began: Callable[[units.Run], None],
        done: Callable[[units.Run], None],
        leave: Callable[[units.Run, BaseException], None],
    ) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        """The loop's own: whoever makes this."""
        self._work = work
        self._outcomes = outcomes
        self._context = context
        self._arguments = arguments
        self._began = began
        self._done = done
        self._leave = leave
        self._running: dict[units.Run, asyncio.Task[None]] = {}
        """The loop itself holds tasks weakly."""
        self._flushing = False
        self._crowded: list[asyncio.Future[None]] = []

    def start(self, runs: list[units.Run]) -> None:
        """Any thread."""
        if threading.get_ident() == self._thread:
            self._start(runs)
        else:
            self._loop.call_soon_threadsafe(self._start, runs)

    def read(self) -> None:
        """Any thread: the server has answered; who waits for that may go on."""
        if self._crowded:
            self._loop.call_soon_threadsafe(self._uncrowd)

    # -- on the loop --------------------------------------------------------------------------------------

    def _start(self, runs: list[units.Run]) -> None:
        for run in runs:
            # Each task copies the context, so that what user code sets in one input is not seen by another.
            task = self._context.run(self._loop.create_task, self._run(run))
            if not task.done():  # a task factory of user code's may begin it at once
                self._running[run] = task

    async def _run(self, run: units.Run) -> None:
        here.input_id.set(run.leases[0].input_id)
        here.call_id.set(run.leases[0].call_id)
        here.traceparent.set(run.leases[0].traceparent)
        try:
            if all(lease.data is not None for lease in run.leases):
                call = run.arguments(self._arguments, self._outcomes)
            else:  # blobs are waited for: not here, where the others run
                call = await self._aside(run.arguments, self._arguments, self._outcomes)
            if call is not None:
                await self._tell(run, *call)
        except SystemExit as exc:
            self._leave(run, exc)
        finally:
            run.finish()
            if run.leases[0].ended is not None:
                run.leases[0].ended(0.0, False)
            self._done(run)
            self._flush_soon()
            self._running.pop(run, None)

    async def _aside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._loop.run_in_executor(None, function, *arguments)

    async def _tell(self, run: units.Run, args: Any, kwargs: Any) -> None:
        """Call user code, and tell how it ended. Raises ``SystemExit`` when it means to end the container."""
        start = time.perf_counter()
        try:
            value, seconds = await self._call(run, args, kwargs, start)
        except invoke.Ended as ended:
            self._outcomes.ended(run.leases, ended, time.perf_counter() - start)
            return
        if run.callee.is_generator:
            self._outcomes.end(run.leases[0], "success", seconds, items=value)
            return
        if run.leases[0].ended is not None:
            self._answered(run.leases[0], seconds)
            return
        for lease, data in run.answers(value, seconds, self._outcomes):
            if len(data) > payload.INLINE_LIMIT:
                await self._aside(self._outcomes.value, lease, data, seconds)
            else:
                self._outcomes.value(lease, data, seconds)

    def _answered(self, lease: work_module.Lease, seconds: float) -> None:
        """A success that is told the way that the lease came."""
        ended, lease.ended = lease.ended, None
        self._work.settled(lease.key)
        if ended is not None:
            ended(seconds, True)

    async def _call(self, run: units.Run, args: Any, kwargs: Any, start: float) -> tuple[Any, float]:
        task = asyncio.current_task()
        assert task is not None
        error: BaseException | None = None
        value: Any = None
        self._began(run)
        try:
            if not run.unwanted():
                run.stopped_by(lambda: self._loop.call_soon_threadsafe(task.cancel))
                value = run.callee.function(*args, **kwargs)
                value = await (self._drain(run, value) if run.callee.is_generator else value)
        except BaseException as exc:  # noqa: BLE001 - the edge of user code
            error = exc
        seconds = time.perf_counter() - start
        why = run.finish() or (interrupts.CANCEL if run.unwanted() else "")
        if error is None and why in (interrupts.CANCEL, interrupts.TIMEOUT):
            error = InterruptedError("the interrupt was swallowed")
        if error is None:
            return value, seconds
        try:
            raise invoke.Ended(error, why) from None
        finally:
            del error  # its traceback refers to this frame: the user's objects would live until the next collection

    async def _drain(self, run: units.Run, values: AsyncIterator[Any]) -> int:
        count = 0
        lease = run.leases[0]
        stream = lease.stream
        assert stream is not None
        try:
            async for value in values:
                self._outcomes.item(lease, count, value)
                count += 1
                if not stream.flush_items():
                    await self._room(stream)
        finally:
            close = getattr(values, "aclose", None)
            if close is not None:
                await close()
        return count

    async def _room(self, stream: outputs_module.Outputs) -> None:
        """Wait until the consumer of a generator has caught up."""
        while stream.crowded() and self._work.stopping != "now":
            future = self._loop.create_future()
            self._crowded.append(future)
            if not stream.crowded():  # just now, before anybody knew that we wait
                break
            await future

    def _uncrowd(self) -> None:
        crowded, self._crowded = self._crowded, []
        for future in crowded:
            if not future.done():
                future.set_result(None)

    def _flush_soon(self) -> None:
        """What ends in one turn of the loop travels together."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._work.flush()
