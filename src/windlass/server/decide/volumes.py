"""How commits of one volume become one history: what a late commit must leave alone, and what is stacked.

A commit is a layer: files that it puts, and paths that it takes away with all below them. It lies above everything that
was committed before, so of one file the last commit wins by itself. Only what it takes away *as a whole* (a folder
that was removed, or removed and made anew) may hide more than its author saw: files that others put there meanwhile.
Such a layer must be made anew, so that it takes away one by one what its author did see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

_MOST = 16
"""Layers of a stack above which some are merged."""
_LEAST = 8
"""Layers that are merged at once."""


class Commit(NamedTuple):
    """``puts``: paths of files, links and folders. ``clears``: paths taken away with all below."""

    made_by: str
    puts: Collection[bytes]
    clears: Collection[bytes]


def clash(
    clears: Collection[bytes], since: Iterable[Commit], *, made_by: str, seen: Collection[bytes] = ()
) -> list[bytes]:
    """What others have put, and is still there, below a path that a commit takes away.

    Args:
        since: the commits after the version that its author saw, in order.
        made_by: the author, whose own commits are no surprise.
        seen: paths that the author did see: to take them away is what was meant.
    """
    cleared, alive = set(clears), set[bytes]()
    if not cleared:
        return []
    for commit in since:
        alive = {path for path in alive if not _below(path, commit.clears) and path not in commit.clears}
        if commit.made_by != made_by:
            alive.update(path for path in commit.puts if _below(path, cleared))
    return sorted(alive.difference(seen))


def _below(path: bytes, clears: Collection[bytes]) -> bool:
    """Whether a folder above ``path`` is among ``clears``."""
    if not clears:
        return False
    end = path.rfind(b"/")
    while end > 0:
        if path[:end] in clears:
            return True
        end = path.rfind(b"/", 0, end)
    return False


def run(files: Sequence[int]) -> tuple[int, int] | None:
    """Which layers of a stack to merge: from the first number up to, without, the second; None for none.

    ``files``: how many each has, bottom first. Small layers on top are merged often, large ones at the bottom only when
    about as much has gathered above them: so each file is linked again some few times in its life, not at each merge.
    """
    if len(files) <= _MOST:
        return None
    start = len(files) - _LEAST
    total = sum(files[start:])
    while start > 0 and files[start - 1] <= 2 * total:
        start -= 1
        total += files[start]
    return start, len(files)


def replaced(stack: Sequence[str], old: Sequence[str], new: str) -> list[str] | None:
    """The stack with the run ``old`` replaced; None where it is no longer in it."""
    for start in range(len(stack) - len(old) + 1):
        if list(stack[start : start + len(old)]) == list(old):
            return [*stack[:start], new, *stack[start + len(old) :]]
    return None
