"""Which container of a server answers: that of the client's session, else the one with the least to do."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

_MOST = 100_000
LONGEST = 256
"""Characters of a session's name."""


class Candidate(NamedTuple):
    """A container that is ready. ``held``: requests that it has; ``most``: that it may have."""

    container_id: str
    held: int
    most: int


class Sessions:
    """Where the sessions of one server are. The longest unused ones are forgotten."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._places: OrderedDict[str, str] = OrderedDict()

    def choose(self, candidates: Sequence[Candidate], session: str) -> str | None:
        """The container for a request; None where all that may have it are full. A ``session`` stays where it is while
        that container lives, full or not."""
        if not session:
            return _emptiest(candidates)
        place = self._places.get(session)
        known = next((one for one in candidates if one.container_id == place), None)
        if known is None:
            known = _drawn([one for one in candidates if one.held < one.most], session)
        elif known.held >= known.most:
            return None
        if known is None:
            return None
        self._places[session] = known.container_id
        self._places.move_to_end(session)
        if len(self._places) > self._most:
            self._places.popitem(last=False)
        return known.container_id


def _emptiest(candidates: Sequence[Candidate]) -> str | None:
    chosen = min(candidates, key=lambda one: one.held, default=None)
    return None if chosen is None or chosen.held >= chosen.most else chosen.container_id


def _drawn(candidates: Sequence[Candidate], session: str) -> Candidate | None:
    """By a hash of both names: where nothing else changed, a server that forgot its sessions finds them again."""
    return max(candidates, key=lambda one: _hash(f"{session} {one.container_id}"), default=None)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
