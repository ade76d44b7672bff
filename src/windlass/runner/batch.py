"""Inputs that run together: gathering them, one call for all of them, an answer for each.

    lease ─► gathering ─ full, or the first has waited long enough ─► Batch ─► a list for each parameter ─► call
"""
from __future__ import annotations

import time
from typing import NamedTuple

from windlass import exception
from windlass.client import source

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections
    from collections.abc import Callable, Sequence
    from typing import Any

    from windlass.runner import outcome
    from windlass.runner import served as served_module
    from windlass.runner import work as work_module
    from windlass.wire.messages import functions


class Batch:
    """What runs at once."""

    __slots__ = ("leases",)

    def __init__(self, leases: list[work_module.Lease]) -> None:
        self.leases = tuple(leases)


class Gathering:
    """The batch that is open. Not safe for threads."""

    def __init__(self, batching: functions.BatchingSpec, outcomes: outcome.Outcomes) -> None:
        self._most = batching["max_batch_size"]
        self._wait = batching["wait_ms"] / 1000
        self._outcomes = outcomes
        self._leases: list[work_module.Lease] = []
        self.closes_at = float("inf")
        """When it is closed though not full (monotonic)."""

    def take(self, queue: collections.deque[work_module.Lease]) -> None:
        """Add what has come, forget what is not wanted any more."""
        if any(lease.cancelled or lease.dropped for lease in self._leases):
            self._leases = [lease for lease in self._leases if self._wanted(lease)]
        while queue and len(self._leases) < self._most:
            try:
                lease = queue.popleft()
            except IndexError:  # somebody gives back what waits
                break
            if self._wanted(lease):
                self._leases.append(lease)
                if len(self._leases) == 1:
                    self.closes_at = time.monotonic() + self._wait
        if not self._leases:
            self.closes_at = float("inf")

    def _wanted(self, lease: work_module.Lease) -> bool:
        if lease.cancelled:
            self._outcomes.end(lease, "terminated", 0.0)
        return not (lease.cancelled or lease.dropped)

    def due(self, now: float) -> bool:
        return len(self._leases) >= self._most or (bool(self._leases) and now >= self.closes_at)

    @property
    def full(self) -> bool:
        return len(self._leases) >= self._most

    @property
    def empty(self) -> bool:
        return not self._leases

    def close(self) -> list[work_module.Lease]:
        """What has been gathered; a new one begins."""
        leases, self._leases = self._leases, []
        self.closes_at = float("inf")
        return leases


class Call:
    """The one call of a batch. Raises ``InvalidError`` when its inputs do not fit the function."""

    def __init__(self, callee: served_module.Callee, arguments: list[tuple[Any, Any]]) -> None:
        by_position, by_name = source.columns(callee.function)
        names = [*by_position, *by_name]
        rows = [_row(names, len(by_position), args, kwargs) for args, kwargs in arguments]
        columns = [list(column) for column in zip(*rows, strict=True)]
        self.args = columns[: len(by_position)]
        self.kwargs = dict(zip(by_name, columns[len(by_position) :], strict=True))


def _row(names: list[str], positional: int, args: Any, kwargs: Any) -> Any:
    """A value for each parameter."""
    if not kwargs and len(args) == len(names) == positional:
        return args
    given = dict(zip(names[:positional], args, strict=False))
    twice = given.keys() & kwargs.keys()
    given.update(kwargs)
    if len(args) > positional or twice or given.keys() != set(names):
        raise exception.InvalidError(
            f"an input of the batch has {len(args)} arguments and the names {sorted(kwargs)}; "
            f"the function has the parameters {names}",
            hint="Each input of a batched function must give each parameter once.",
        )
    return [given[name] for name in names]


class Opened(NamedTuple):
    """A batch whose arguments are here."""

    unit: Batch
    call: Call


def opened(
    unit: Batch,
    callee: served_module.Callee,
    arguments: Callable[[work_module.Lease], tuple[Any, Any]],
    outcomes: outcome.Outcomes,
) -> Opened | None:
    """None when nothing is left to run: those whose arguments cannot be read fail alone, those that do not fit the
    function fail all."""
    leases, rows = [], []
    for lease in unit.leases:
        try:
            rows.append(arguments(lease))
            leases.append(lease)
        except exception.Error as exc:
            outcomes.fail([lease], exc, 0.0)
    if not leases:
        return None
    try:
        return Opened(Batch(leases), Call(callee, rows))
    except exception.Error as exc:
        outcomes.fail(leases, exc, 0.0)
        return None


def answers(
    leases: Sequence[work_module.Lease], outcomes: outcome.Outcomes, value: Any, seconds: float
) -> list[tuple[work_module.Lease, bytes]]:
    """What each input gets of what was returned, pickled. Those that get nothing have failed."""
    try:
        checked = _checked(value, len(leases))
    except exception.Error as exc:
        outcomes.fail(leases, exc, seconds)
        return []
    pickled = [(lease, outcomes.pickled(lease, one, seconds)) for lease, one in zip(leases, checked, strict=True)]
    return [(lease, data) for lease, data in pickled if data is not None]


def _checked(value: Any, count: int) -> list[Any]:
    if not isinstance(value, list):
        raise exception.InvalidError(
            f"a batched function must return a list, not {type(value).__name__}",
            hint=f"It was called for {count} inputs: return a list of {count}.",
        )
    if len(value) != count:
        raise exception.InvalidError(
            f"a batched function returned {len(value)} results for {count} inputs",
            hint="Element i of the list answers input i.",
        )
    return value
