"""What a new version of an app changes: which functions stay, get new code, come or go.

A function keeps its id as long as its tag names the same kind of thing, so callers do not notice a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import functions


class Part(NamedTuple):
    function_id: str
    spec: functions.FunctionSpec


class Difference(NamedTuple):
    """``changed`` and ``added`` are tags, ``removed`` are function ids."""

    changed: list[str]
    added: list[str]
    removed: list[str]

    def __bool__(self) -> bool:
        return any(self)


def kind(spec: functions.FunctionSpec) -> str:
    """Handles know it of their function, so a function whose kind changes is another one."""
    return "generator" if spec["is_generator"] else "function"


def same_kind(old: functions.FunctionSpec, new: functions.FunctionSpec) -> bool:
    return kind(old) == kind(new)


def check(current: Mapping[str, Part], new: Mapping[str, Part]) -> None:
    """Refuse a version that was made for another state of the app: somebody else was faster."""
    for tag, part in new.items():
        if part.spec["tag"] != tag:
            raise exception.InvalidError(f"the function under tag {tag!r} says that its tag is {part.spec['tag']!r}")
        known = current.get(tag)
        if known is not None and same_kind(known.spec, part.spec) != (known.function_id == part.function_id):
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
