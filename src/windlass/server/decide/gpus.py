"""Which GPUs a container gets: whole devices, lent to one container at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import functions

ANY = "ANY"
_BETTER = {"H100": ("H200",), "A100": ("A100-40GB", "A100-80GB"), "B200+": ("B200", "B300")}
"""What also serves for a kind, after the kind itself. ``H100!`` is that and nothing else."""


class Gpu(NamedTuple):
    """A device of one machine."""

    id: str
    kind: str


Wanted = Sequence[functions.GpuSpec]


def choose(free: Sequence[Gpu], wanted: Wanted) -> tuple[str, ...] | None:
    """Ids of devices for the first alternative that can be had; of one kind each; None where there is none."""
    for one in wanted:
        for kind in _kinds(one["kind"], free):
            found = [gpu.id for gpu in free if gpu.kind == kind]
            if len(found) >= one["count"]:
                return tuple(found[: one["count"]])
    return None


def _kinds(kind: str, free: Iterable[Gpu]) -> list[str]:
    """Kinds that will do, the best fitting first."""
    if kind == ANY:
        return list(dict.fromkeys(gpu.kind for gpu in free))
    plain = kind.rstrip("!")
    return [plain, *(() if kind.endswith("!") else _BETTER.get(kind, ()))]


def check(wanted: Wanted, machines: Sequence[Sequence[Gpu]]) -> None:
    """Refuse what no machine can ever give.

    Raises:
        InvalidError: none has so many GPUs of any of the kinds.
    """
    if not wanted or any(choose(machine, wanted) is not None for machine in machines):
        return
    asked = " or ".join(_word(one["kind"], one["count"]) for one in wanted)
    there = "; ".join(_inventory(machine) for machine in machines if machine)
    raise exception.InvalidError(
        f"gpu: no machine of this platform has {asked}; {f'there is {there}' if there else 'none has any GPU'}",
        hint="`windlass node list` shows what there is, and `windlass doctor` why a GPU cannot be used.",
    )


def _inventory(machine: Sequence[Gpu]) -> str:
    return ", ".join(_word(kind, count) for kind, count in Counter(gpu.kind for gpu in machine).items())


def _word(kind: str, count: int) -> str:
    return f"{count} × {kind}" if count > 1 else kind


class Held(NamedTuple):
    """A container that has GPUs. ``idle_since``: None while it works, or where its function needs it."""

    container_id: str
    node: str
    function_id: str
    gpus: tuple[str, ...]
    idle_since: float | None


class Freed(NamedTuple):
    """``stop``: idle containers. ``owes``: functions that give up a container when it has finished."""

    stop: list[str]
    owes: list[str]


def freed(
    wanted: Wanted,
    function_id: str,
    has: int,
    free: Mapping[str, Sequence[Gpu]],
    machines: Mapping[str, Sequence[Gpu]],
    held: Sequence[Held],
) -> Freed:
    """What makes room for one container of a function that ``has`` some: the longest idle go, and no more of them than
    it takes; where nobody idles, whoever has most gives one, if that leaves it no less than the taker would have."""
    for node, here in machines.items():
        spare = list(free.get(node, ()))
        stop = []
        idle = [one for one in held if one.node == node and one.function_id != function_id]
        for one in sorted((o for o in idle if o.idle_since is not None), key=lambda o: o.idle_since or 0.0):
            if choose(spare, wanted) is not None:
                break
            spare += [gpu for gpu in here if gpu.id in one.gpus]
            stop.append(one.container_id)
        if stop and choose(spare, wanted) is not None:
            return Freed(_needed(stop, held, here, free.get(node, ()), wanted), [])
    owners = Counter(one.function_id for one in held if one.function_id != function_id)
    if owners:
        richest, most = owners.most_common(1)[0]
        if most > has + 1 or (has == 0 and most >= 1):
            return Freed([], [richest])
    return Freed([], [])


def _needed(
    stop: list[str], held: Sequence[Held], here: Sequence[Gpu], free: Sequence[Gpu], wanted: Wanted
) -> list[str]:
    """Without those whose GPUs are of no use."""
    by_id = {one.container_id: one for one in held}
    for name in list(stop):
        rest = {gpu for other in stop if other != name for gpu in by_id[other].gpus}
        if choose([*free, *(gpu for gpu in here if gpu.id in rest)], wanted) is not None:
            stop = [other for other in stop if other != name]
    return stop
