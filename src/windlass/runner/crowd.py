"""Several inputs, or batches, at once: those of async functions on one event loop, all others in a thread each.

    lease ─► queue ─► Run ─┬─ tasks (main thread's loop) ──┬─► outputs
               │           └─ threads ─────────────────────┘
               └─ gathering, when they are batched

The keeper reads and keeps the time, and starts what arrives. The main thread runs the loop, or only waits for the end.
What does not stop when it is interrupted cannot be left alone with others: the container ends, and gives them back.
"""
from __future__ import annotations

import contextvars
import math
import select
import sys
import threading
import time

from windlass import exception
from windlass.client import here
from windlass.runner import attendant, batch, interrupts, invoke, keeper, lines, service, threads, units
from windlass.runner import outputs as outputs_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from concurrent import futures
    from typing import Any

    from windlass.runner import link as link_module
    from windlass.runner import served as served_module
    from windlass.runner import tasks as tasks_module
    from windlass.runner import work as work_module
    from windlass.wire.messages import functions

_FEW = 2  # threads whose results need not wait for those of others
_AGAIN = 0.020  # seconds until an interrupt that was postponed is tried again
_LONG = 0.050  # seconds that inputs wait for a place before they are given back


class Crowd(service.Service):
    def __init__(
        self,
        spec: functions.FunctionSpec,
        served: served_module.Served,
        *,
        link: link_module.Link,
        work: work_module.Work,
    ) -> None:
        self._whole_link = link
        shared: Any = keeper.Shared(link)
        self._shared: keeper.Shared = shared
        super().__init__(spec, served, link=shared, work=work)
        self._allowed = spec["concurrency"]["max_inputs"]
        self._most = self._allowed
        """User code may want less at once."""
        self._timeout = spec["timeout"] or math.inf
        batching = spec.get("batching")
        self._gathering = None if batching is None else batch.Gathering(batching, self._outcomes)
        self._lock = threading.Lock()
        self._runs: dict[units.Run, None] = {}
        self._by_key: dict[tuple[str, int], units.Run] = {}
        self._waits_since = math.inf
        """Since when there is something for which there is no place."""
        self._look_at = math.inf
        """When the time of what runs must be looked at."""
        self._left: BaseException | None = None
        self._leaver: units.Run | None = None
        self._wants_loop = False
        self._serving = False
        """Whether the main thread takes inputs: before, what the keeper takes for it could not be started."""
        self._threads = threads.Threads(self._allowed, self._in_thread)
        self._tasks: tasks_module.Tasks | None = None

    def _attended_by(self, link: link_module.Link) -> attendant.Attendant:
        self._keeper = keeper.Keeper(self._whole_link, self._work, self._outcomes, due=self._due, read=self._read)
        return self._keeper

    def count(self) -> int:
        return self._most

    def limit(self, count: int) -> None:
        """Any thread. What runs beyond it is not disturbed; what waits beyond it is given back."""
        with self._lock:
            self._most = min(count, self._allowed)
        self._work.limit(self._most)
        self._news()

    def _interact(self) -> None:
        raise exception.InvalidError(
            "a container that takes several inputs at once cannot attach a terminal",
            hint="Try it with @concurrent(max_inputs=1), or without the decorator.",
        )

    # -- the main thread ----------------------------------------------------------------------------------

    def _take_inputs(self) -> float:
        work = self._work
        if self._served.loop is not None:
            self._tasks = self._made_tasks(self._served.loop)
        work.interrupt, work.news = self._interrupt, self._news
        self._serving = True
        if self._gathering is None:
            self._served.leases(self.take)
        self._news()  # what came before
        try:
            while True:
                if self._left is not None:
                    raise self._left
                if work.stopping:
                    self._wind_down()
                    if not self._runs:
                        return service.LAST_WORDS
                self._wait()
        except BaseException:  # user code leaves, also by a task that it made itself
            self._abandon()
            raise

    def _made_tasks(self, loop: invoke.Loop) -> tasks_module.Tasks:
        from windlass.runner import tasks

        return tasks.Tasks(
            loop.loop, self._work, self._outcomes, context=contextvars.copy_context(), arguments=self._arguments,
            began=self._began, done=self._done, leave=self._leave_by,
        )  # fmt: skip

    def _wait(self) -> None:
        """Until something happened that concerns the whole container."""
        wake = self._shared.main_wake
        if self._wants_loop and self._served.loop is None:
            self._served.needs_loop()
            self._shared.changed()
        if self._served.loop is not None:
            self._served.loop.wait_readable(wake.fd, seconds=60.0)
        else:
            poll = select.poll()
            poll.register(wake.fd, select.POLLIN)
            poll.poll()
        wake.clear()

    def _wind_down(self) -> None:
        """Give back what has not begun; if it must be now, interrupt what has."""
        self._give_back_waiting()
        if self._work.stopping == "now":
            now = time.monotonic()
            for run in list(self._runs):
                run.interrupt(interrupts.STOP, now)
            self._expect(now)

    def _give_back_waiting(self) -> None:
        with self._lock:
            gathered = [] if self._gathering is None else self._gathering.close()
        self._work.give_back(gathered)
        self._work.release()

    def _abandon(self) -> None:
        """The container ends because user code ended it: the others are not to blame."""
        self._work.stopping = self._work.stopping or "graceful"
        self._give_back_waiting()
        self._drop(run for run in list(self._runs) if run is not self._leaver)

    def _drop(self, runs: Iterable[units.Run]) -> None:
        """Give back what runs, and forget how it will end."""
        leases = [lease for run in runs for lease in run.leases]
        self._work.give_back(leases)
        for lease in leases:
            lease.dropped = True

    # -- the reader ---------------------------------------------------------------------------------------

    def _news(self) -> None:
        if self._work.stopping or self._left is not None:
            self._shared.main_wake.set()
        else:
            self._fill()

    def _read(self) -> None:
        self._shared.changed()
        if self._tasks is not None:
            self._tasks.read()

    def _interrupt(self, lease: work_module.Lease, why: str, message: str = "") -> None:
        run = self._by_key.get(lease.key)
        if run is not None:
            now = time.monotonic()
            run.interrupt(why, now)
            self._expect(now + (_AGAIN if run.postponed else attendant.DEAF))
            self._shared.changed()  # it may wait for the consumer of its items
            if self._tasks is not None:
                self._tasks.read()

    def _due(self, now: float) -> float:
        """The keeper: what the time asks for. Returns when to look again."""
        if now >= self._waits_since + _LONG and not self._work.stopping:
            self._waits_since = math.inf
            self._give_back_waiting()
        due = math.inf
        if self._gathering is not None and self._serving and not self._work.stopping:
            self._fill()
            due = self._closes_at()
        if now >= self._look_at:
            self._look_at = math.inf  # whoever begins from here on counts
            self._look_at = min(self._look_at, self._looked(now))
        return min(due, self._look_at, self._waits_since + _LONG)

    def _closes_at(self) -> float:
        """When the open batch is closed; if there is no place for it, whoever ends makes one."""
        assert self._gathering is not None
        return self._gathering.closes_at if len(self._runs) < self._most else math.inf

    def _looked(self, now: float) -> float:
        """Interrupt what ran too long; end all if something does not stop. Returns when to look again."""
        again, deaf = math.inf, []
        for run in list(self._runs):
            ends = run.started + self._timeout
            if now >= ends:
                run.interrupt(interrupts.TIMEOUT, now)
            run.retry()
            if run.postponed:
                again = min(again, now + _AGAIN)
            if not run.wanted:
                again = min(again, ends)
            elif now >= run.asked_at + attendant.DEAF and run.wanted != interrupts.STOP:
                deaf.append(run)
            else:
                again = min(again, run.asked_at + attendant.DEAF)
        if deaf:
            self._end_deaf(deaf, now)
        return again

    def _end_deaf(self, deaf: list[units.Run], now: float) -> None:
        """What did not stop is over; the others run again elsewhere."""
        self._work.stopping = "now"
        self._give_back_waiting()
        for run in deaf:
            if run.wanted == interrupts.TIMEOUT:
                self._outcomes.overran(run.leases, now - run.started)
            else:
                self._outcomes.ended(run.leases, invoke.Ended(InterruptedError(), run.wanted), now - run.started)
        self._drop(run for run in list(self._runs) if run not in deaf)
        text = "an input did not stop when it was interrupted, so its container ends; what else ran here runs again"
        print(text, file=sys.stderr, flush=True)
        self._keeper.die()

    # -- any thread ---------------------------------------------------------------------------------------

    def take(self, leases: Iterable[work_module.Lease]) -> None:
        """Inputs that came another way than by the link. On the main thread's loop."""
        for lease in leases:
            if lease.key not in self._work.held:
                self._work.held[lease.key] = lease
                self._work.queue.append(lease)
        if self._work.stopping:
            self._work.release()
        self._news()

    def _expect(self, at: float) -> None:
        if at < self._look_at:
            self._look_at = at
            self._keeper.expect(at)

    def _fill(self) -> None:
        """Start what has a place."""
        runs: list[units.Run] = []
        with self._lock:
            while len(self._runs) < self._most:
                run = self._next()
                if run is None:
                    break
                self._runs[run] = None
                for lease in run.leases:
                    self._by_key[lease.key] = run
                runs.append(run)
            waiting = bool(self._work.queue) or (self._gathering is not None and not self._gathering.empty)
            crowded = waiting and len(self._runs) >= self._most
            if crowded != (self._waits_since < math.inf):
                self._waits_since = time.monotonic() if crowded else math.inf
            self._tell_if_closed(runs)
        waits = [run for run in runs if run.callee.is_async]
        if waits and self._tasks is not None:
            self._tasks.start(waits)
        for run in runs:
            if not run.callee.is_async:
                self._threads.start(run)
        if crowded:
            self._keeper.expect(self._waits_since + _LONG)

    def _next(self) -> units.Run | None:
        """With the lock held."""
        queue, callees = self._work.queue, self._served.callees
        if self._gathering is not None:
            self._gathering.take(queue)
            if not self._gathering.due(time.monotonic()):
                self._keeper.expect(self._gathering.closes_at)
                return None
            return units.Run(batch.Batch(self._gathering.close()), next(iter(callees.values())))
        while queue:
            try:
                lease = queue.popleft()
            except IndexError:  # somebody gives back what waits
                return None
            callee = callees.get(lease.method)
            if lease.cancelled:
                self._outcomes.end(lease, "terminated", 0.0)
            elif callee is None:
                self._outcomes.fail([lease], self._missing(lease), 0.0)
            elif not lease.dropped:
                if callee.is_generator:
                    lease.stream = outputs_module.Outputs(self._whole_link, self._work.settled)
                    self._work.streams[lease.key] = lease.stream
                return units.Run(lease, callee)
        return None

    def _tell_if_closed(self, runs: list[units.Run]) -> None:
        """Where all places are taken by batches that are not full, the server thinks that there is room."""
        batching = self._spec.get("batching")
        if not (batching and runs and len(self._runs) >= self._most):
            return
        if any(len(run.leases) < batching["max_batch_size"] for run in self._runs):
            self._work.take_no_more()

    def _began(self, run: units.Run) -> None:
        """Its time begins."""
        run.started = time.monotonic()
        self._expect(run.started + self._timeout)

    def _done(self, run: units.Run) -> None:
        """It has been told how it ended."""
        with self._lock:
            self._runs.pop(run, None)
            for lease in run.unit.leases:
                self._by_key.pop(lease.key, None)
        if not self._runs:
            lines.flush_all()
        if self._work.stopping or self._left is not None:
            self._shared.main_wake.set()
        elif self._work.queue or self._gathering is not None:
            self._fill()

    def _leave_by(self, run: units.Run, exc: BaseException) -> None:
        """User code of ``run`` ends the container. The first one counts."""
        with self._lock:
            if self._left is None:
                self._left, self._leaver = exc, run
        self._shared.main_wake.set()

    # -- threads ------------------------------------------------------------------------------------------

    def _in_thread(self, run: units.Run) -> None:
        lease = run.leases[0]
        here.input_id.set(lease.input_id)
        here.call_id.set(lease.call_id)
        here.traceparent.set(lease.traceparent)
        try:
            call = run.arguments(self._arguments, self._outcomes)
            if call is not None:
                self._tell(run, *call)
        except SystemExit as exc:
            self._leave_by(run, exc)
        finally:
            run.finish()
            if len(self._runs) > _FEW:
                self._keeper.flush_soon()
            else:
                self._work.flush()
            self._done(run)

    def _tell(self, run: units.Run, args: Any, kwargs: Any) -> None:
        """Call user code, and tell how it ended. Raises ``SystemExit`` when it means to end the container."""
        start = time.perf_counter()
        try:
            value, seconds = self._call(run, args, kwargs)
        except invoke.Ended as ended:
            self._outcomes.ended(run.leases, ended, time.perf_counter() - start)
            return
        if run.callee.is_generator:
            self._outcomes.end(run.leases[0], "success", seconds, items=value)
            return
        for lease, data in run.answers(value, seconds, self._outcomes):
            self._outcomes.value(lease, data, seconds)

    def _call(self, run: units.Run, args: Any, kwargs: Any) -> tuple[Any, float]:
        items = 0

        def emit(value: Any) -> None:
            nonlocal items
            self._item(run.leases[0], items, value, run)
            items += 1

        def began() -> None:
            self._began(run)
            if run.unwanted():
                run.interrupt(interrupts.CANCEL, run.started)

        invoker = threads.Invoker(self._served, threads.Door(run), self._on_loop)
        try:
            return invoker.run(run, run.callee, args, kwargs, emit=emit, began=began)
        except invoke.Ended:
            raise
        except BaseException as late:  # noqa: BLE001 - left with the thread in the very act of shutting the door
            raise invoke.Ended(late, run.finish()) from None

    def _item(self, lease: work_module.Lease, number: int, value: Any, run: units.Run | None = None) -> None:
        """One value of a generator; waits while its consumer is far behind."""
        self._outcomes.item(lease, number, value)
        stream = lease.stream
        assert stream is not None and run is not None
        if not stream.flush_items():
            self._shared.wait(lambda: not stream.crowded() or run.wanted or self._work.stopping == "now")

    def _on_loop(self, awaitable: Awaitable[Any]) -> futures.Future[Any]:
        """A function that did not look async returned a coroutine: the main thread's loop runs it."""
        import asyncio

        self._wants_loop = True
        if self._served.loop is None:
            self._shared.main_wake.set()
            self._shared.wait(lambda: self._served.loop is not None)
        assert self._served.loop is not None
        return asyncio.run_coroutine_threadsafe(invoke.awaited(awaitable), self._served.loop.loop)
