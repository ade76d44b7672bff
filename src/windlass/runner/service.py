"""The main thread's loop: take an input, run it, say how it ended."""
from __future__ import annotations

import contextvars
import time

from windlass import exception
from windlass.client import here
from windlass.runner import attendant, blobs, invoke, marks, outcome, usage
from windlass.runner import work as work_module
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.runner import link as link_module
    from windlass.runner import served as served_module
    from windlass.runner import terminal as terminal_module
    from windlass.wire.messages import functions

_HURRY = 0.001  # after an input that ran longer than this, its result does not wait for others
LAST_WORDS = 5.0  # seconds at the end for the server to take the last results
LAST_RESULT = 60.0  # the same for containers that end by themselves after one input


class Service:
    """Serves one function until told to stop, or until user code leaves."""

    def __init__(
        self,
        spec: functions.FunctionSpec,
        served: served_module.Served,
        *,
        link: link_module.Link,
        work: work_module.Work,
    ) -> None:
        self._spec = spec
        self._link = link
        self._work = work
        self._outputs = work.outputs
        self._outcomes = outcome.Outcomes(spec["timeout"], link, work)
        self._attendant = self._attended_by(link)
        self._served = served
        served.begin()
        self._invoker = invoke.Invoker(served, interrupts=work.interrupts)
        self._terminal: terminal_module.Terminal | None = None

    def run(self) -> None:
        """Raises ``SystemExit`` (or ``KeyboardInterrupt``) when user code left by it."""
        link, work = self._link, self._work
        work.interrupts.install(link.main_wake.write_fd)
        here.interact = self._interact
        here.stop_fetching = work.stop_fetching
        here.slots = self
        if link.up:  # it was needed to fetch the function
            work.announce()
        self._attendant.start()
        patience, user_left = LAST_WORDS, True
        try:
            patience = self._take_inputs()
            if "cluster" in self._spec and work.stopping != "now":
                patience = max(patience, self._spec["timeout"])  # answered when the other ranks have ended, too
            user_left = False
        finally:
            work.stopping = work.stopping or "graceful"
            work.release()
            if self._served.leaves and not user_left:
                self._run_exit_hooks(patience)
            self._leave(patience)

    def _attended_by(self, link: link_module.Link) -> attendant.Attendant:
        return attendant.Attendant(link, self._work, self._outcomes, timeout=self._spec["timeout"])

    def _take_inputs(self) -> float:
        """One after the other, until it is time to end. Returns the seconds that the server then has for results."""
        work, outputs = self._work, self._outputs
        while not work.stopping:
            try:
                lease = work.queue.popleft()
            except IndexError:
                outputs.flush()
                self._idle()
                continue
            ran = self._serve(lease)
            if self._spec["single_use"]:
                return LAST_RESULT
            if ran > _HURRY or outputs.due(time.monotonic()):
                outputs.flush()
        return LAST_WORDS

    def _idle(self, seconds: float = 60.0) -> None:
        """Until something came. The main thread reads by itself: no change of threads before user code runs."""
        link = self._link
        link.take()
        try:
            if self._work.queue or self._work.stopping:
                return
            if self._invoker.loop is not None and link.up:
                self._invoker.loop.wait_readable(link.descriptor, link.main_wake.fd, seconds=seconds)
                link.step(0, link.main_wake)
            else:
                link.step(seconds, link.main_wake)
        finally:
            link.leave()

    def _run_exit_hooks(self, patience: float) -> None:
        """After the last results: nobody shall wait for hooks. Signals that ask to end change nothing any more, because
        the door for interrupts is shut; the attendant ends hooks that hang."""
        work = self._work
        self._work.flush()
        self._link.wait(lambda: not self._work.unsettled, time.monotonic() + patience)
        work.last_words = f"exit hooks were still running after {work.grace:g} s, so the container was killed"
        before, work.die_at = work.die_at, min(work.die_at, time.monotonic() + work.grace)
        self._attendant.attend()
        self._served.leave()
        work.die_at, work.last_words = before, ""

    def _leave(self, patience: float) -> None:
        """Bring out results and output."""
        deadline = time.monotonic() + patience
        self._work.flush()
        self._link.wait(lambda: not self._work.unsettled, deadline)
        if self._invoker.loop is not None:
            self._invoker.loop.close()
        marks.flush()

    def count(self) -> int:
        """Inputs that are taken at once (``here.slots``)."""
        return 1

    def limit(self, count: int) -> None:
        """Take no more than ``count`` at once: there is no less than one."""

    def _interact(self) -> None:
        """Attach the user's terminal (user code calls it)."""
        if self._terminal is None:
            from windlass.runner import terminal  # few programs need it

            self._terminal = terminal.Terminal(self._work)
        self._terminal.attach()

    # -- one input ------------------------------------------------------------------------------------------

    def _serve(self, lease: work_module.Lease) -> float:
        """Run it and add its output. Returns the seconds it ran."""
        if lease.dropped:
            return 0.0
        try:
            args, kwargs = self._arguments(lease)
        except exception.Error as exc:
            self._outcomes.fail([lease], exc, 0.0)
            return 0.0
        # A context of its own, so that what user code sets in one input is not seen by the next.
        return contextvars.copy_context().run(self._run, lease, args, kwargs)

    def _arguments(self, lease: work_module.Lease) -> Any:
        data = lease.data if lease.data is not None else bytes(blobs.fetch(self._link, lease.blob, lease.size))
        lease.data = None
        return payload.loads(data, "arguments")

    def _run(self, lease: work_module.Lease, args: Any, kwargs: Any) -> float:
        callee = self._served.callees.get(lease.method)
        if callee is None:
            self._outcomes.fail([lease], self._missing(lease), 0.0)
            return 0.0
        here.input_id.set(lease.input_id)
        here.call_id.set(lease.call_id)
        here.traceparent.set(lease.traceparent)
        marks.current = lease.input_id
        items = 0

        def emit(value: Any) -> None:
            nonlocal items
            self._item(lease, items, value)
            items += 1

        work = self._work
        start = work.started = time.monotonic()
        lease.began = usage.begin(start)
        work.running = lease
        try:
            if lease.cancelled:
                self._outcomes.end(lease, "terminated", 0.0)
                return 0.0
            value, seconds = self._invoker.run(lease, callee, args, kwargs, emit=emit, began=self._attendant.attend)
        except invoke.Ended as ended:
            work.running = None
            seconds = time.monotonic() - start
            if self._terminal is not None:
                self._terminal.detach()
            self._ended(lease, ended, seconds)
            return seconds
        finally:
            work.running = None
            if self._terminal is not None:
                self._terminal.detach()
            marks.flush()
            marks.current = None
        if callee.is_generator:
            self._outcomes.end(lease, "success", seconds, items=value)
        else:
            self._outcomes.returned(lease, value, seconds)
        return seconds

    def _missing(self, lease: work_module.Lease) -> exception.Error:
        return exception.NotFoundError(f"{self._spec['tag']!r} has no method {lease.method!r} in this container")

    def _ended(self, lease: work_module.Lease, ended: invoke.Ended, seconds: float) -> None:
        typed = isinstance(ended.cause, KeyboardInterrupt) and not ended.why
        if typed and self._terminal is not None and self._terminal.lease is lease:
            self._outcomes.fail([lease], ended.cause, seconds)  # typed by the user: at the other end it is Ctrl-C, too
        else:
            self._outcomes.ended([lease], ended, seconds)

    def _item(self, lease: work_module.Lease, number: int, value: Any) -> None:
        """One value of a generator; waits while its consumer is far behind."""
        self._outcomes.item(lease, number, value)
        if not self._outputs.flush_items():
            work = self._work
            self._link.wait(lambda: not self._outputs.crowded() or work.interrupts.wanted or work.stopping == "now")
