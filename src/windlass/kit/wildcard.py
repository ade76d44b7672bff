"""Wildcards of one path part, as ``filepath.Match`` of Go has them, which Dockerfiles use.

    *  any characters      ?  one character      [a-z]  one of a class      [^a-z]  none of it      \\x  x itself

No wildcard matches a slash.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable


def is_pattern(text: str) -> bool:
    """Whether ``text`` means more than itself."""
    return any(char in text for char in "*?[\\")


def escape(text: str) -> str:
    """A pattern for exactly ``text``."""
    return "".join(f"\\{char}" if is_pattern(char) else char for char in text)


def expand(pattern: str, names: Callable[[str], Iterable[str]]) -> list[str]:
    """The paths that ``pattern`` matches, sorted; one without wildcards is returned as it is.

    Args:
        pattern: a relative path.
        names: what the folder at a relative path ("" for the root) holds; nothing for what is no folder.

    Raises:
        ValueError: a class is not closed, or names nothing.
    """
    found = [""]
    for part in [part for part in pattern.split("/") if part not in ("", ".")]:
        if not is_pattern(part):
            found = [_join(folder, part) for folder in found]
            continue
        rule = compiled(part)
        found = [_join(folder, name) for folder in found for name in sorted(names(folder)) if rule.match(name)]
    return found


def compiled(part: str) -> re.Pattern[str]:
    """An expression for one part. Raises ``ValueError`` where it is malformed."""
    import re

    out, at = [], 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "[":
            piece, at = _class(part, at)
            out.append(piece)
        elif char == "\\":
            if at == len(part):
                raise ValueError(f"the pattern {part!r} ends in a backslash")
            out.append(re.escape(part[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return re.compile("".join(out) + r"\Z", re.DOTALL)


def _class(part: str, at: int) -> tuple[str, int]:
    import re

    negated = part.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (part.startswith("]", at) and ranges):
        low, at = _member(part, at)
        high = low
        if part.startswith("-", at):
            high, at = _member(part, at + 1)
        if high < low:
            raise ValueError(f"the pattern {part!r} has the empty range {low}-{high}")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _member(part: str, at: int) -> tuple[str, int]:
    if part.startswith("\\", at):
        at += 1
    elif part.startswith(("-", "]"), at):
        raise ValueError(f"the pattern {part!r} has a malformed class")
    if at >= len(part):
        raise ValueError(f"the pattern {part!r} has a class without an end")
    return part[at], at + 1


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
