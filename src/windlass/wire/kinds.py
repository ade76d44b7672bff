"""Which kind of thing a function is. Handles know it of theirs, so a function whose kind changes is another one."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def same(old: Mapping[str, object], new: Mapping[str, object]) -> bool:
    """Whether handles of one may stay with the other. Both are a ``FunctionSpec`` or a ``FunctionInfo``.

    Methods of a class may come and go, but one that stays keeps its form, too.
    """
    if _kind(old) != _kind(new):
        return False
    before, after = _methods(old), _methods(new)
    return all(_generates(before[name]) == _generates(after[name]) for name in before.keys() & after.keys())


def _kind(function: Mapping[str, object]) -> str:
    if function.get("class_name"):
        return "class"
    return "generator" if function["is_generator"] else "function"


def _methods(function: Mapping[str, object]) -> dict[str, Any]:
    methods: Any = function.get("methods")
    return methods or {}


def _generates(method: Mapping[str, object]) -> bool:
    return bool(method.get("is_generator", False))
