"""Values of a class's parameters on the wire: typed records in the order of declaration, as text.

Equal values give equal bytes, whoever writes them: the text is what tells one pool of a class from another. It is a
JSON list of ``[name, type, value]``, where each value is text, too: integers in hexadecimal digits (without a bound),
booleans "0" or "1", bytes in base64.
"""
from __future__ import annotations

import json

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from windlass.wire.messages import functions

MAX_SIZE = 16 * 1024
"""Bytes of all values together."""

_LONGEST = 8
"""Characters of text for each byte of content, at most; more are not even looked at."""


def write(kind: str, value: Any) -> str:
    """One value as text. It must have the right type already; where an integer is expected a boolean is one."""
    if kind == "str":
        return str.__str__(value)  # of an enumeration's member, too, the string itself
    if kind == "int":
        return format(int(value), "x")
    if kind == "bool":
        return "1" if value else "0"
    import binascii

    return binascii.b2a_base64(value, newline=False).decode()


def read(kind: str, text: str) -> Any:
    """The value. Raises ``ValueError`` for what ``write`` would not have written."""
    if kind == "str":
        return text
    if kind == "int":
        return int(text, 16)
    if kind == "bool" and text in ("0", "1"):
        return text == "1"
    if kind == "bytes":
        import binascii

        return binascii.a2b_base64(text)
    raise ValueError(f"{text[:40]!r} is no {kind}")


def encode(schema: Sequence[functions.ParameterSpec], values: Mapping[str, Any]) -> str:
    """The text of ``values``, which are complete and of the right types; "" where there are no parameters.

    Raises ``InvalidError`` when it is too large.
    """
    if not schema:
        return ""
    records = [(one["name"], one["type"], write(one["type"], values[one["name"]])) for one in schema]
    _check_size(sum(_size(*record) for record in records))
    return json.dumps(records, separators=(",", ":"))


def decode(text: str) -> dict[str, Any]:
    """The values by name. Raises ``InvalidError`` for what is no such text."""
    return {name: read(kind, value) for name, kind, value in _records(text)} if text else {}


def check(schema: Sequence[functions.ParameterSpec], text: str) -> None:
    """Raise ``InvalidError`` unless ``text`` is what ``encode`` could have written for ``schema``."""
    expected = [(one["name"], one["type"]) for one in schema]
    given = [(name, kind) for name, kind, _ in _records(text)] if text else []
    if given != expected:
        raise exception.InvalidError(
            f"the class has the parameters {_listed(expected)}; given were {_listed(given)}",
            hint="Was the class changed? Look it up, or deploy it, again.",
        )


def _records(text: str) -> list[tuple[str, str, str]]:
    _check_size(len(text) // _LONGEST)
    try:
        records = [(name, kind, value) for name, kind, value in json.loads(text)]
        for name, kind, value in records:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError("a record is no text")
            read(kind, value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise exception.InvalidError(f"these are no values of parameters: {exc}") from None
    _check_size(sum(_size(*record) for record in records))
    return records


def _size(name: str, kind: str, value: str) -> int:
    """Bytes of a name and its value, however they are written."""
    content = len(value) * 3 // 4 if kind == "bytes" else len(value.encode("utf-8", "surrogatepass"))
    return len(name) + content


def _check_size(size: int) -> None:
    if size > MAX_SIZE:
        raise exception.InvalidError(
            f"the values of the parameters take {size:,} bytes, more than the limit of {MAX_SIZE:,}",
            hint="Pass where the data is, and let an enter hook read it.",
        )


def _listed(parameters: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in parameters) or "none"
