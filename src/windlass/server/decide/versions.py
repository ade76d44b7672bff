"""What a new version of an app changes: which functions stay, get new code, come or go.

A function keeps its id as long as its tag names the same kind of thing, so callers do not notice a new version.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from windlass import exception
from windlass.wire import kinds
from windlass.wire.messages import functions


class Part(NamedTuple):
    function_id: str
    spec: functions.FunctionSpec


class Version(NamedTuple):
    number: int
    deployed_at: float


class Difference(NamedTuple):
    """``changed`` and ``added`` are tags, ``removed`` are function ids."""

    changed: list[str]
    added: list[str]
    removed: list[str]

    def __bool__(self) -> bool:
        return any(self)


def check(current: Mapping[str, Part], new: Mapping[str, Part]) -> None:
    """Refuse a version that was made for another state of the app: somebody else was faster."""
    for tag, part in new.items():
        if part.spec["tag"] != tag:
            raise exception.InvalidError(f"the function under tag {tag!r} says that its tag is {part.spec['tag']!r}")
        known = current.get(tag)
        if known is not None and kinds.same(known.spec, part.spec) != (known.function_id == part.function_id):
            raise exception.ConflictError(
                f"function {tag!r} was published by somebody else in the meantime", hint="Deploy again."
            )


def difference(current: Mapping[str, Part], new: Mapping[str, Part]) -> Difference:
    kept = {part.function_id for part in new.values()}
    changed, added = [], []
    for tag, part in new.items():
        known = current.get(tag)
        if known is None or known.function_id != part.function_id:
            added.append(tag)
        elif known.spec != part.spec:
            changed.append(tag)
    return Difference(changed, added, [part.function_id for part in current.values() if part.function_id not in kept])


def outlived(history: Sequence[Version], *, keep: int, before: float, used: Collection[int]) -> list[int]:
    """Versions that nobody will come back to.

    The newest ``keep`` stay, and of the others those that were current after ``before``, or that are ``used``:
    something of them runs or waits. ``history``: newest first; the first is current.
    """
    found = []
    for newer, version in itertools.pairwise(history):
        if version.number <= history[0].number - keep and newer.deployed_at < before and version.number not in used:
            found.append(version.number)
    return found
