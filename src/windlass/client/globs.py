"""Paths with wildcards, where a whole listing is searched: ``*`` within a name, ``**`` for any folders."""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from windlass import exception
from windlass.kit import wildcard

_FOLDERS = "**"


def is_glob(path: str) -> bool:
    """Whether a path means more than itself. Names may hold "?" and "[", so these alone make no glob."""
    return "*" in path


class Search(NamedTuple):
    """What a glob asks for: list ``folder`` (with all below it if ``recursive``), and take what matches."""

    folder: str
    recursive: bool
    rules: Sequence[re.Pattern[str] | None]
    """One for each name below the folder; None for any folders."""

    def matches(self, path: str) -> bool:
        """``path``: of an entry of the listing, from the root."""
        below = path[len(self.folder) :].strip("/") if self.folder else path
        return _match(self.rules, below.split("/"))


def search(path: str) -> Search:
    """Read a glob, without a slash at its beginning. Raises ``InvalidError`` where it is malformed."""
    parts = path.split("/")
    first = next(at for at, part in enumerate(parts) if wildcard.is_pattern(part))
    rest = parts[first:]
    try:
        rules = [None if part == _FOLDERS else wildcard.compiled(part) for part in rest]
    except ValueError as exc:
        raise exception.InvalidError(str(exc)) from None
    return Search("/".join(parts[:first]), len(rest) > 1 or None in rules, rules)


def _match(rules: Sequence[re.Pattern[str] | None], names: Sequence[str]) -> bool:
    if not rules:
        return not names
    if rules[0] is None:
        return any(_match(rules[1:], names[at:]) for at in range(len(names) + 1))
    return bool(names) and rules[0].match(names[0]) is not None and _match(rules[1:], names[1:])
