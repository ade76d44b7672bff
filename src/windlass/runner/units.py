"""What runs beside others: one input or one batch, its time, its arguments and answers, and how it is interrupted."""
from __future__ import annotations

import _thread
import math

from windlass import exception
from windlass.runner import batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from windlass.runner import outcome
    from windlass.runner import served as served_module
    from windlass.runner import work as work_module

    Arguments = Callable[[work_module.Lease], tuple[Any, Any]]


class Run:
    """From the moment it has a place until it is told how it ended. It is interrupted at most once."""

    __slots__ = ("_over", "_stop", "asked_at", "callee", "leases", "lock", "postponed", "started", "unit", "wanted")

    def __init__(self, unit: work_module.Unit, callee: served_module.Callee) -> None:
        self.unit = unit
        self.leases = unit.leases
        """Of whom it still depends how they end."""
        self.callee = callee
        self.lock = _thread.allocate_lock()
        self.started = math.inf
        """When user code began (monotonic)."""
        self.wanted = ""
        """Why it shall end, or ""."""
        self.asked_at = math.inf
        self.postponed = False
        """What it does must not be interrupted just now: ``retry``."""
        self._stop: Callable[[], object] | None = None
        self._over = False

    # -- its end ------------------------------------------------------------------------------------------

    def interrupt(self, why: str, now: float) -> bool:
        """Any thread. False when it is over, or was asked to end before."""
        with self.lock:
            if self._over or self.wanted:
                return False
            self.wanted, self.asked_at = why, now
            if self._stop is not None:
                self._stop()
            return True

    def retry(self) -> None:
        """Any thread. Interrupt it, if that was postponed."""
        with self.lock:
            if self.postponed and not self._over and self._stop is not None:
                self.postponed = False
                self._stop()

    def stopped_by(self, stop: Callable[[], object] | None) -> None:
        """``stop`` is called once at most (but where it says ``postponed``), with the lock held; here, if it was asked
        to end already."""
        with self.lock:
            self._stop = stop
            if self.wanted and stop is not None:
                stop()

    def finish(self) -> str:
        """From now on it cannot be interrupted. Returns why it was, or ""."""
        with self.lock:
            self._over, self._stop = True, None
            return self.wanted

    # -- what user code gets and gives ----------------------------------------------------------------------

    def arguments(self, read: Arguments, outcomes: outcome.Outcomes) -> tuple[Any, Any] | None:
        """None when there is nothing to run: whom it concerns has been told."""
        if isinstance(self.unit, batch.Batch):
            opened = batch.opened(self.unit, self.callee, read, outcomes)
            if opened is None:
                return None
            self.leases = opened.unit.leases
            return opened.call.args, opened.call.kwargs
        try:
            return read(self.leases[0])
        except exception.Error as exc:
            outcomes.fail(self.leases, exc, 0.0)
            return None

    def answers(
        self, value: Any, seconds: float, outcomes: outcome.Outcomes
    ) -> list[tuple[work_module.Lease, bytes]]:
        """The values of the inputs, pickled. Those that have none have failed."""
        if isinstance(self.unit, batch.Batch):
            return batch.answers(self.leases, outcomes, value, seconds)
        data = outcomes.pickled(self.leases[0], value, seconds)
        return [] if data is None else [(self.leases[0], data)]

    def unwanted(self) -> bool:
        """Whether it was cancelled before it could be interrupted."""
        if not self.wanted:
            for lease in self.leases:
                if lease.cancelled or lease.dropped:
                    return True
        return False

