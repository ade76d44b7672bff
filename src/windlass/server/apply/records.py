"""Noting how attempts went: figures of all, records of those that somebody may ask about.

A record is written for each attempt that did not succeed (up to a number for each call), for spawned, slow and cold
ones (up to a number in each second), and for one of the others now and then. The figures count every one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.server.apply import core as core_module
from windlass.server.apply import traces
from windlass.server.decide import attempts
from windlass.server.state import machines, moves, records, work
from windlass.server.store import inputs
from windlass.server.store import records as store

Core = core_module.Core
_decode = msgspec.json.decode
_SLOW = 0.050
_SHORT = 0.005
_FEW = 1024  # inputs of a function in one minute, above which it is a flood
_MOST_REASON = 500
_OUTCOMES = {int(outcome): outcome for outcome in records.Outcome}
_SUCCESS = records.Outcome.SUCCESS


def ended(
    core: Core,
    item: work.Input,
    outcome: int,
    body: bytes | None = None,
    *,
    exit: machines.Exit | None = None,
    final: bool = True,
) -> None:
    """An attempt is over, or an input that never ran. Called while the input still has its lease."""
    call, usage = item.call, item.usage
    function = call.function
    if core.tracer is not None:
        traces.attempt_ended(core, item, outcome, _reason(outcome, body, exit))
    minute = function.minute
    if outcome == _SUCCESS and minute is not None and usage is not None and minute.inputs >= _FEW:
        # A flood: of short ones each 16th stands for all in the histograms.
        if minute.inputs & 15 and usage[0] < _SHORT:
            minute.inputs += 1
            minute.cpu += usage[0]
            minute.dirty = True
            return
        weight = 16
    else:
        weight = 1
    now = core.clock.now()
    if minute is None or now >= minute.end:
        minute = _next_minute(core, function, now)
    leased = item.state == moves.InputState.LEASED
    start, container = 0.0, item.container if leased else None
    waited = (item.leased_at if leased else now) - item.queued_at
    if container is not None and container.started_at is not None and container.started_at > item.queued_at:
        start = min(waited, container.started_at - max(item.queued_at, container.created_at))
    seconds, cpu, peak = usage or (now - item.leased_at if leased else 0.0, None, None)
    minute.dirty = True
    if leased:
        weight = weight if seconds < _SHORT else 1
        minute.queue.add(waited - start, weight)
        minute.run.add(seconds, weight)
        minute.cpu += seconds if cpu is None else cpu
        if start:
            minute.start.add(start)
        if peak and peak > minute.peak:
            minute.peak = peak
    if final:
        minute.inputs += 1
    if outcome == _SUCCESS:
        if not _worth(function, call, item, seconds, start, now):
            return
    else:
        _count(minute, outcome, final=final)
        if call.recorded >= core.settings.records_per_call:
            return
        call.recorded += 1
    kept = _kept(core, item, outcome) if final else work.NO_DATA
    core.turn.records.append(
        records.Record(
            call.id, item.index, item.attempt, function.n, call.method, call.kind, outcome, final,
            container.n if container is not None else None, max(0.0, waited - start), start, seconds, cpu,
            peak, now, _reason(outcome, body, exit), kept.size, kept.blob, kept.inline,
        )
    )  # fmt: skip


def _next_minute(core: Core, function: machines.Function, now: float) -> records.Minute:
    put(core, function)
    minute = function.minute = records.Minute(int(now // 60))
    return minute


def _worth(
    function: machines.Function, call: work.Call, item: work.Input, seconds: float, start: float, now: float
) -> bool:
    """Whether a success is recorded: a few in each second, so that a flood of short ones costs nothing."""
    second = int(now)
    if second != function.sampled_second:
        function.sampled_second, function.sampled = second, 0
    elif function.sampled >= (100 if seconds >= _SLOW or start or call.kind == moves.Kind.SPAWN else 1):
        return False
    function.sampled += 1
    return True


def _count(minute: records.Minute, outcome: int, *, final: bool) -> None:
    if outcome == records.Outcome.TERMINATED:
        minute.cancelled += 1
    elif outcome in records.FAULTS:
        if final:
            minute.failures += 1
        else:
            minute.retries += 1
        if outcome == records.Outcome.CRASH:
            minute.crashes += 1


def _kept(core: Core, item: work.Input, outcome: int) -> work.Data:
    """The arguments of a failed input, for a replay; of others they are dropped with the input."""
    data = item.data
    if outcome not in records.FAULTS or data.size > core.settings.keep_arguments:
        return work.NO_DATA
    if data.inline is None and data.blob is None and data.size:
        core.turn.flush()
        data = inputs.large(core.db, item.key)
    return data


def _reason(outcome: int, body: bytes | None, exit: machines.Exit | None) -> str:
    if exit is not None:
        return attempts.exit_story(exit)[:_MOST_REASON]
    failure: dict[str, Any] = _decode(body).get("failure", {}) if body and outcome != _SUCCESS else {}
    return str(failure.get("reason") or failure.get("repr") or "")[:_MOST_REASON]


def never_ran(core: Core, call: work.Call, row: inputs.Row, ending: machines.Ending) -> None:
    """A waiting input that was only a row has ended."""
    item = work.Input(call, row.key & work.INDEX_MASK, row.data)
    item.attempt = row.attempt
    item.queued_at = call.created_at
    ended(core, item, ending.status, ending.body)


def put(core: Core, function: machines.Function) -> None:
    """Write the figures of a function that changed since."""
    minute = function.minute
    if minute is not None and minute.dirty:
        core.turn.begin()
        store.put_minute(core.db, function.n, minute)


def put_all(core: Core) -> None:
    for function in core.world.functions.values():
        put(core, function)
