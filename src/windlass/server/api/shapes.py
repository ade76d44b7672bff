"""Messages as the door accepts them: the shapes of ``wire.messages`` with bounds on their numbers.

Whole numbers end where JSON's do (2**53): beyond that they fit neither into the database nor into the keys that are
computed from them, and one row that cannot be written fails the turn of everybody. So do numbers with fractions, which
become whole ones where they are times.
"""

from __future__ import annotations

import functools
import operator
import types
import typing
from typing import Annotated, Any

import msgspec

_LIMIT = 2**53
_typed_dict: Any = typing.TypedDict
_INT = Annotated[int, msgspec.Meta(ge=-_LIMIT, le=_LIMIT)]
_FLOAT = Annotated[float, msgspec.Meta(ge=-_LIMIT, le=_LIMIT)]


@functools.cache
def bounded(shape: Any) -> Any:
    """``shape``, a type of a message or of a part of one, with every number in it bounded."""
    if shape is int:
        return _INT
    if shape is float:
        return _FLOAT
    if hasattr(shape, "__total__"):
        return _message(shape)
    parts = typing.get_args(shape)
    if not parts:
        return shape
    origin = typing.get_origin(shape)
    new = tuple(bounded(part) for part in parts)
    return functools.reduce(operator.or_, new) if origin in (typing.Union, types.UnionType) else origin[new]


def checked(body: Any, shape: Any) -> Any:
    """``body`` as a message of ``shape``, bounded. Raises ``msgspec.ValidationError``."""
    try:
        return msgspec.convert({"body": body}, _holder(shape)).body
    except msgspec.ValidationError:
        return msgspec.convert(body, bounded(shape))  # says where it is wrong, from the body on


@functools.cache
def _holder(shape: Any) -> Any:
    """A struct: msgspec prepares the types of its fields once, those of other messages for each conversion."""
    return msgspec.defstruct("Holder", [("body", bounded(shape))])


def _message(shape: Any) -> Any:
    """Two classes, because a ``TypedDict`` is written with one rule: the keys that must be there, and the others."""
    fields = {name: bounded(kind) for name, kind in typing.get_type_hints(shape).items()}
    required = {name: kind for name, kind in fields.items() if name in shape.__required_keys__}
    optional = {name: kind for name, kind in fields.items() if name not in required}
    base = _typed_dict(shape.__name__, required)
    meta: Any = type(base)
    made = meta(shape.__name__, (base,), {"__annotations__": optional}, total=False) if optional else base
    made.__module__, made.__doc__ = shape.__module__, shape.__doc__  # two nouns may have a message of one name
    return made
