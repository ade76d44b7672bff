"""Batches one after the other, in the main thread."""
from __future__ import annotations

import contextvars
import time

from windlass.client import here
from windlass.runner import batch, interrupts, invoke, lines, service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.runner import link as link_module
    from windlass.runner import served as served_module
    from windlass.runner import work as work_module
    from windlass.wire.messages import functions

_LONGEST = 60.0  # seconds in one wait


class Batches(service.Service):
    def __init__(
        self,
        spec: functions.FunctionSpec,
        served: served_module.Served,
        *,
        link: link_module.Link,
        work: work_module.Work,
    ) -> None:
        super().__init__(spec, served, link=link, work=work)
        self._gathering = batch.Gathering(spec["batching"], self._outcomes)
        self._callee = next(iter(served.callees.values()))  # the only one
        work.interrupt = self._interrupt

    def _interrupt(self, lease: work_module.Lease, why: str, message: str = "") -> None:
        """Whoever is meant, the whole batch is interrupted."""
        running = self._work.running
        if running is not None and lease in running.leases:
            self._work.interrupts.request(running, why, message)

    def _take_inputs(self) -> float:
        work, gathering = self._work, self._gathering
        while not work.stopping:
            gathering.take(work.queue)
            now = time.monotonic()
            if not gathering.due(now):
                work.flush()
                self._idle(min(_LONGEST, gathering.closes_at - now))
                continue
            if not gathering.full:
                work.take_no_more()
            self._serve_batch(batch.Batch(gathering.close()))
            if self._spec["single_use"]:
                return service.LAST_RESULT
            work.flush()
        work.give_back(gathering.close())
        return service.LAST_WORDS

    def _serve_batch(self, unit: batch.Batch) -> None:
        opened = batch.opened(unit, self._callee, self._arguments, self._outcomes)
        if opened is not None:
            # A context of its own, as each input has one.
            contextvars.copy_context().run(self._run_batch, opened)

    def _run_batch(self, opened: batch.Opened) -> None:
        unit, call = opened.unit, opened.call
        first = unit.leases[0]
        here.input_id.set(first.input_id)
        here.call_id.set(first.call_id)
        here.traceparent.set(first.traceparent)

        def began() -> None:
            self._attendant.attend()
            if any(lease.cancelled or lease.dropped for lease in unit.leases):  # since it was closed
                work.interrupts.request(unit, interrupts.CANCEL)

        work = self._work
        start = work.started = time.monotonic()
        work.running = unit
        try:
            value, seconds = self._invoker.run(
                unit, self._callee, call.args, call.kwargs, emit=_never, began=began
            )
        except invoke.Ended as ended:
            work.running = None
            self._outcomes.ended(unit.leases, ended, time.monotonic() - start)
        else:
            work.running = None
            for lease, data in batch.answers(unit.leases, self._outcomes, value, seconds):
                self._outcomes.value(lease, data, seconds)
        finally:
            work.running = None
            lines.flush_all()


def _never(value: Any) -> None:
    raise AssertionError("generators are never batched")
