"""Saying how inputs ended: from values and exceptions of user code to outputs."""
from __future__ import annotations

from windlass import exception
from windlass.runner import blobs, failure, usage
from windlass.runner import interrupts as interrupts_module
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from windlass.runner import invoke
    from windlass.runner import link as link_module
    from windlass.runner import work as work_module


class Outcomes:
    """``timeout``: seconds that an input may run, for the text that says so."""

    def __init__(self, timeout: float, link: link_module.Waits, work: work_module.Work) -> None:
        self._timeout = timeout
        self._link = link
        self._work = work

    def end(self, lease: work_module.Lease, status: str, seconds: float, **more: Any) -> None:
        self._add(lease, {**lease.held, "status": status, **_cost(lease, seconds), **more})

    def returned(self, lease: work_module.Lease, value: Any, seconds: float) -> None:
        data = self.pickled(lease, value, seconds)
        if data is not None:
            self.value(lease, data, seconds)

    def pickled(self, lease: work_module.Lease, value: Any, seconds: float) -> bytes | None:
        """``value`` as it travels; None when it cannot, which is the input's failure."""
        try:
            return _pickled(value, "returned")
        except exception.Error as exc:
            self.fail([lease], exc, seconds)
            return None

    def value(self, lease: work_module.Lease, data: bytes, seconds: float) -> None:
        """The input returned ``data``."""
        try:
            self._add(lease, {**lease.held, "status": "success", **_cost(lease, seconds)}, "value", data)
        except exception.Error as exc:
            self.fail([lease], exc, seconds)

    def item(self, lease: work_module.Lease, number: int, value: Any) -> None:
        """One value of a generator."""
        self._add(lease, {**lease.held, "status": "item", "item": number}, "value", _pickled(value, "yielded"))

    def fail(
        self,
        leases: Sequence[work_module.Lease],
        exc: BaseException,
        seconds: float,
        *,
        status: str = "failure",
    ) -> None:
        """They all failed by the same exception."""
        why, pickled = failure.of(exc, reason=str(exc) if status == "timeout" else "")
        for lease in leases:
            output: dict[str, Any] = {**lease.held, "status": status, "failure": {**why}, **_cost(lease, seconds)}
            try:
                self._add(lease, output, "error", pickled)
            except exception.Error:
                self._add(lease, output)

    def ended(self, leases: Sequence[work_module.Lease], ended: invoke.Ended, seconds: float) -> None:
        """What ran for ``leases`` did not return. Raises ``SystemExit`` when user code means to leave."""
        cause = ended.cause
        if ended.why == interrupts_module.CANCEL:
            self._cancelled(leases, seconds)
        elif ended.why == interrupts_module.TIMEOUT:
            text = f"the function ran longer than its timeout of {self._timeout:g} s"
            error = exception.FunctionTimeoutError(text).with_traceback(cause.__traceback__)
            self.fail(leases, error, seconds, status="timeout")
        elif ended.why == interrupts_module.STOP:
            self._work.give_back(leases)
        elif isinstance(cause, SystemExit):
            raise cause.with_traceback(None)
        elif isinstance(cause, (KeyboardInterrupt, GeneratorExit)):
            failure.show(failure.of(cause)[0])
            raise SystemExit(130 if isinstance(cause, KeyboardInterrupt) else 1)
        else:
            self.fail(leases, cause, seconds)

    def _cancelled(self, leases: Sequence[work_module.Lease], seconds: float) -> None:
        """Who was in one batch with a cancelled one runs again."""
        meant = [lease for lease in leases if lease.cancelled or lease.dropped]
        for lease in meant:
            self.end(lease, "terminated", seconds)
        self._work.give_back([lease for lease in leases if lease not in meant])

    def overran(self, leases: Sequence[work_module.Lease], seconds: float) -> None:
        """They are over because their time is, although their code still runs."""
        text = f"the function ran longer than its timeout of {self._timeout:g} s and did not stop when interrupted"
        kind = "windlass.exception.FunctionTimeoutError"
        why = {"kind": kind, "repr": text, "traceback": "", "frames": [], "reason": text}
        for lease in leases:
            self._add(lease, {**lease.held, "status": "timeout", "failure": {**why}, **_cost(lease, seconds)})

    def _add(
        self, lease: work_module.Lease, output: dict[str, Any], slot: str = "value", data: bytes | None = None
    ) -> None:
        if lease.dropped:
            return
        if data is not None and len(data) > payload.INLINE_LIMIT:
            place = {"blob": blobs.upload(self._link, data), "size": len(data)}
            (output if slot == "value" else output["failure"])[slot] = place
            data = None
        (lease.stream or self._work.outputs).add(lease.key, output, data, slot)


def _pickled(value: Any, how: str) -> bytes:
    """``value``, which the user's function ``how`` ("returned", "yielded"), as it travels."""
    try:
        return payload.dumps(value)
    except exception.SerializationError as exc:
        raise exception.SerializationError(
            f"the function {how} what cannot be pickled, a {type(value).__qualname__}: {exc.__cause__ or exc}",
            hint="Let it give plain data, or objects that can be pickled.",
        ) from None


def _cost(lease: work_module.Lease, seconds: float) -> dict[str, Any]:
    """What an output says of how long it took and what it used."""
    told: dict[str, Any] = {"seconds": seconds}
    if lease.began is not None:
        told.update(usage.end(lease.began, seconds))
    return told
