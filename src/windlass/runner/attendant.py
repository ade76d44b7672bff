"""The second thread: time and the connection while user code runs.

It sleeps while the main thread waits for work, looks every 20 ms while inputs run, and takes over reading when one runs
longer. Its duties: heartbeats, time limits, giving back what queues behind a long input, bringing out results that were
held back.
"""
from __future__ import annotations

import _thread
import math
import os
import select
import sys
import time

from windlass.runner import interrupts as interrupts_module
from windlass.runner import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.runner import link as link_module
    from windlass.runner import outcome
    from windlass.runner import work as work_module

BEAT = 15.0
_LOOK = 0.020  # how often it looks, and how long an input must run for it to take over
_RESTLESS = 0.5  # goes on looking so long after the last input
_LONG = 0.050  # an input that runs so long has the others given back
DEAF = 5.0  # user code may take so long to end after its time is up
_LAST_WORDS = 2.0  # for the server to take the last results of a process that is ended


class Attendant:
    """``timeout``: seconds that one input may run."""

    def __init__(
        self, link: link_module.Link, work: work_module.Work, outcomes: outcome.Outcomes, *, timeout: float
    ) -> None:
        self._link = link
        self._work = work
        self._outcomes = outcomes
        self._timeout = timeout or math.inf
        self._asleep = False
        self._reads = False
        self._beat_at = time.monotonic() + BEAT
        self._poll = select.poll()
        self._poll.register(link.attendant_wake.fd, select.POLLIN)

    def start(self) -> None:
        _thread.start_new_thread(self._run, ())

    def attend(self) -> None:
        """Main thread, at the start of each input (``work.running`` is set before): do not sleep now."""
        if self._asleep:
            self._asleep = False
            self._link.attendant_wake.set()

    def _run(self) -> None:
        try:
            while True:
                self._sleep()
                self._look()
        except BaseException as exc:  # noqa: BLE001 - without this thread nobody would ever stop user code
            marks.flush()
            os.write(2, f"the runner cannot go on: {exc}\n".encode())
            os._exit(1)

    def _sleep(self) -> None:
        while True:
            # First say so, then look: the main thread does it in the other order.
            self._asleep = True
            if self._work.running is not None:
                break
            woken = self._pause(min(self._beat_at, self._work.die_at) - time.monotonic())
            self._duties(time.monotonic())
            if woken:
                break
        self._asleep = False

    def _look(self) -> None:
        quiet_at = time.monotonic() + _RESTLESS
        while (now := time.monotonic()) < quiet_at:
            running = self._work.running
            self._duties(now)
            if running is not None:
                quiet_at = now + _RESTLESS
                if now - self._work.started >= _LOOK and self._link.try_take():
                    self._reads = True
                    try:
                        self._read_for(running)
                    finally:
                        self._reads = False
                        self._link.leave()
            self._pause(_LOOK)

    def _read_for(self, running: work_module.Unit) -> None:
        """Be the reader while this input runs and the main thread does not want to be."""
        while self._work.running is running and not self._link.wanted_back:
            deadline = self._duties(time.monotonic())
            self._link.step(max(0.0, deadline - time.monotonic()), self._link.attendant_wake)

    def _pause(self, seconds: float) -> bool:
        """Whether it was woken."""
        if not self._poll.poll(max(0.0, seconds) * 1000):
            return False
        self._link.attendant_wake.clear()
        return True

    # -- duties -------------------------------------------------------------------------------------------

    def _duties(self, now: float) -> float:
        """What is due; returns when it must be looked at again."""
        work = self._work
        if now >= self._beat_at:
            self._beat_at = now + BEAT
            self._link.request("runner.beat", {"held": work.listed()})
        if work.outputs.pending:
            work.outputs.flush()
        running = work.running
        if running is None:
            if work.last_words and now >= work.die_at:  # else the main thread is leaving by itself
                self.die()
            return min(self._beat_at, work.die_at)
        # Read after ``running``: if the main thread has gone on meanwhile, this start is too late, never too early.
        ends = work.started + (math.inf if work.untimed else self._timeout)
        if now >= ends:
            work.interrupts.request(
                running, interrupts_module.TIMEOUT, f"the function ran longer than its timeout of {self._timeout:g} s"
            )
            if now >= ends + DEAF:
                self._end_deaf(running)
            ends += DEAF
        if work.queue:
            gives_back = 0.0 if work.stopping else work.started + _LONG
            if now >= gives_back:
                work.release()
            else:
                ends = min(ends, gives_back)
        if now >= work.die_at:
            self.die()
        return min(ends, self._beat_at, work.die_at)

    def _end_deaf(self, running: work_module.Unit) -> None:
        """User code does not react to its interrupt: report it, end the process."""
        self._outcomes.overran(running.leases, time.monotonic() - self._work.started)
        self.die()

    def die(self) -> None:
        """End the process, after the last results."""
        if self._work.last_words:
            marks.flush()
            print(self._work.last_words, file=sys.stderr, flush=True)
        deadline = time.monotonic() + _LAST_WORDS
        self._work.flush()
        while self._work.unsettled and time.monotonic() < deadline:
            if self._reads or self._link.try_take():
                self._reads = True
                self._link.step(0.1, self._link.attendant_wake)
            else:  # the main thread reads
                self._pause(_LOOK)
        marks.flush()
        os._exit(1)
