"""What a function that runs as a build step is made of, as one digest: the same function, the same layer.

Counted are the source text, the arguments, and the values that the code refers to from outside: globals, closure,
defaults. Other functions, classes and modules count by name only, so that work on one part of a program does not
build all of its images anew. What cannot be pickled is left out, and named.

Values are written by the pickler of the standard library, whose output is the same in each process but for sets: these
are sorted. It is only ever hashed, never read back.
"""
from __future__ import annotations

import dis
import hashlib
import inspect
import io
import pickle
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from windlass import exception

_OURS = __name__.partition(".")[0]
_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_BY_NAME = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)


class Fingerprint(NamedTuple):
    """``skipped``: the variables that do not count because they cannot be pickled."""

    digest: str
    skipped: list[str]


def of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Fingerprint:
    """The fingerprint of calling ``function`` with these arguments.

    Raises ``SerializationError`` where an argument cannot be pickled.
    """
    plain = inspect.unwrap(function)
    state = hashlib.sha256()
    _add(state, _source(plain))
    skipped = []
    for name, value in sorted(outside(plain).items()):
        try:
            written = _written(value)
        except Exception:  # noqa: BLE001 - the user's __reduce__ may raise anything
            skipped.append(name)
        else:
            _add(state, name.encode())
            _add(state, written)
    try:
        _add(state, _written((list(args), dict(kwargs))))
    except Exception as exc:  # user-defined __reduce__ may raise anything
        raise exception.SerializationError(f"an argument of {plain.__name__!r} cannot be pickled: {exc}") from exc
    return Fingerprint(state.hexdigest(), skipped)


def outside(function: Callable[..., Any]) -> dict[str, Any]:
    """The values that a function refers to and that are no functions, classes or modules, by name."""
    code: types.CodeType = function.__code__
    space: dict[str, Any] = getattr(function, "__globals__", {})
    found = {name: space[name] for name in _global_names(code) if name in space}
    for name, cell in zip(code.co_freevars, getattr(function, "__closure__", None) or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            pass  # not assigned yet
    for number, value in enumerate(getattr(function, "__defaults__", None) or ()):
        found[f"default {number}"] = value
    for name, value in (getattr(function, "__kwdefaults__", None) or {}).items():
        found[f"default {name}"] = value
    return {name: value for name, value in found.items() if not _counts_by_name(value)}


def _global_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOADS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _source(function: Callable[..., Any]) -> bytes:
    """The text of a function; its byte code where it was typed at a prompt."""
    try:
        return textwrap.dedent(inspect.getsource(function)).encode()
    except (OSError, TypeError):
        return repr(_shape(function.__code__)).encode()


def _shape(code: types.CodeType) -> tuple[Any, ...]:
    constants = tuple(_shape(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.co_name, code.co_code.hex(), constants, code.co_names, code.co_varnames


def _counts_by_name(value: Any) -> bool:
    """Also what belongs to Windlass: a handle has another id in each run."""
    return isinstance(value, _BY_NAME) or type(value).__module__.partition(".")[0] == _OURS


def _written(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=4).dump(value)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    """Asked for each object before anything else is done with it."""

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, (set, frozenset)):
            return "set", sorted(_written(item) for item in obj)
        if _counts_by_name(obj):
            name = getattr(obj, "__qualname__", getattr(obj, "__name__", type(obj).__qualname__))
            return "name", f"{getattr(obj, '__module__', '')}.{name}"
        return None


def _add(state: Any, data: bytes) -> None:
    state.update(len(data).to_bytes(8, "big"))
    state.update(data)
