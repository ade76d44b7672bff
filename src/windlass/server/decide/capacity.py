"""How many inputs a container may hold, and how many it is planned with.

    plain          one; several where they are so short that the way costs more than the work
    concurrent     ``target_inputs`` while another container has room below that, else ``max_inputs``
    batched        one batch; the next one as well while batches are short
    both           the same with ``target_inputs`` and ``max_inputs`` batches

Code may want fewer in its container (``within``); it cannot want more.

A single-use container takes one input (or one batch) whatever else its function asks for: that nothing came before it
is what it is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from windlass import exception
from windlass.server.decide import attempts
from windlass.wire.messages import functions

_MAX_BATCH, _MAX_WAIT = 1000, 600_000


class Capacity(NamedTuple):
    """``planned``: inputs that the autoscaler gives a container; ``target``: what it is filled to while others have
    room; ``most``: what it may hold. ``batch``: inputs that are taken together. ``shared``: whether inputs run side by
    side in one container."""

    planned: int
    target: int
    most: int
    batch: int
    shared: bool


def of(
    spec: functions.FunctionSpec, seconds: float | None, bounds: functions.AutoscalerSpec | None = None
) -> Capacity:
    """``seconds``: how long an input, or a batch, lately ran. ``bounds`` may have a target of their own."""
    concurrency, batching = spec.get("concurrency"), spec.get("batching")
    if concurrency is not None and bounds is not None and "target_concurrency" in bounds:
        target = min(bounds["target_concurrency"], concurrency["max_inputs"])
        concurrency = {**concurrency, "target_inputs": target}
    batch = batching["max_batch_size"] if batching else 1
    if concurrency is None and batching is None:
        most = attempts.capacity(seconds, single_use=spec["single_use"] or "cluster" in spec)
        return Capacity(1, most, most, 1, shared=False)
    if spec["single_use"]:
        return Capacity(batch, batch, batch, batch, shared=batch > 1)
    target, most = (concurrency["target_inputs"], concurrency["max_inputs"]) if concurrency else (1, 1)
    ahead = batch if batching and seconds is not None and seconds < attempts.SHORT else 0
    return Capacity(target * batch, target * batch + ahead, most * batch + ahead, batch, shared=most * batch > 1)


def within(capacity: Capacity, slots: int | None) -> Capacity:
    """The same for a container whose code wants only ``slots`` inputs, or batches, at once."""
    if slots is None or not capacity.shared:
        return capacity
    most = min(capacity.most, slots * capacity.batch)
    return capacity._replace(planned=min(capacity.planned, most), target=min(capacity.target, most), most=most)


def average(capacity: Capacity, slots: Sequence[int | None]) -> int:
    """What containers with these ``slots`` are planned with, one with the other."""
    if not any(slots):
        return capacity.planned
    return max(1, sum(within(capacity, one).planned for one in slots) // len(slots))


def portion(capacity: Capacity, *, held: int, room: int, queued: int, free: int) -> int:
    """How many of ``queued`` inputs one of ``free`` containers, which holds ``held``, should take now: what fills its
    batch, else an even share."""
    if capacity.batch > 1:
        return min(room, capacity.batch - held % capacity.batch)
    return min(room, math.ceil(queued / max(1, free)))


def alone(crashes: int, capacity: Capacity, budget: int) -> bool:
    """Whether an input under which containers died must run alone.

    Of many inputs in one container most are innocent, and one after the other they would take long: only those that
    saw it twice are kept apart, in time before the budget is spent.
    """
    return crashes >= (2 if capacity.shared and budget > 2 else 1)


def patience(spec: functions.FunctionSpec) -> float:
    """Seconds that an input may be with a container before it runs: until its batch is full."""
    batching = spec.get("batching")
    return batching["wait_ms"] / 1000 if batching else 0.0


def check(spec: functions.FunctionSpec) -> None:
    """Refuse what no decorator would have let through."""
    concurrency, batching = spec.get("concurrency"), spec.get("batching")
    if concurrency is not None and not 1 <= concurrency["target_inputs"] <= concurrency["max_inputs"]:
        raise exception.InvalidError(
            f"target_inputs={concurrency['target_inputs']} must be within 1 and max_inputs={concurrency['max_inputs']}"
        )
    if batching is None:
        return
    if not (1 <= batching["max_batch_size"] <= _MAX_BATCH and 0 <= batching["wait_ms"] <= _MAX_WAIT):
        raise exception.InvalidError(
            f"batches are of 1 to {_MAX_BATCH:,} inputs and wait 0 to {_MAX_WAIT:,} ms, "
            f"not max_batch_size={batching['max_batch_size']}, wait_ms={batching['wait_ms']}"
        )
    methods = spec.get("methods") or {"": {"is_generator": spec["is_generator"]}}
    if len(methods) > 1:
        raise exception.InvalidError("a class with several methods cannot be batched", hint="Move one into its own.")
    if any(method.get("is_generator") for method in methods.values()):
        raise exception.InvalidError("generators cannot be batched")
