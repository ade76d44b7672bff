"""How many forks of which template wait to be wanted: decided from figures alone, by whoever has them.

    least    each living template has these, at once
    proven   as many as were wanted at once in the last minutes: another burst finds them made
    hoped    of a template that was used lately: as many as there is room for, so that its first burst finds some, too

The room is one for all templates of a machine, in number and in memory. Templates share it in equal parts; proven
wishes come before hoped ones. What is proven is made again as soon as no call waits, what is hoped one by one while the
machine has little else to do.
"""
from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import NamedTuple

LEAST = 2
MOST = 64  # on one machine: about 0.4 GiB where each has what a small program needs
EACH = 6 * 1024 * 1024  # bytes of a fork that nobody has measured, and the least that one is reckoned with
AT_ONCE = 2.0  # seconds in which a burst is wanted
BURST = 300.0  # seconds for which it is proof
RECENT = 120.0  # seconds for which a use gives hope
SETTLED = 2.0  # seconds without a wish after which there is time for what is only hoped
_PART = 50  # of the machine's memory, for all that wait
_QUIET = 0.4  # of the processors' time: when less is idle, nothing is made ahead


class Demand:
    """The most forks of one template that were wanted at once."""

    def __init__(self) -> None:
        self._taken: collections.deque[float] = collections.deque()
        self._most = 0
        self._most_at = 0.0

    def note(self, now: float) -> None:
        """One is wanted."""
        self._taken.append(now)
        while self._taken[0] < now - AT_ONCE:
            self._taken.popleft()
        if len(self._taken) >= self._most or now > self._most_at + BURST:
            self._most, self._most_at = len(self._taken), now

    def proven(self, now: float) -> int:
        """The most in the last minutes."""
        return 0 if now > self._most_at + BURST else self._most


class Known(NamedTuple):
    """Of one template. ``idle``: seconds since a fork of it was wanted. ``ceiling``: how many containers its function
    may have at once. ``each``: bytes that one waiting fork has for itself; 0 where nobody has measured."""

    proven: int
    idle: float
    ceiling: int
    each: int = 0


def shares(templates: Mapping[str, Known], memory: int, *, scarce: bool) -> dict[str, int]:
    """How many forks of each template may wait. ``memory``: bytes of the machine. ``scarce``: it is used up.

    Example:
        >>> shares({"a": Known(0, 1.0, 100), "b": Known(0, 1.0, 8)}, 24 << 30, scarce=False)
        {'a': 56, 'b': 8}
    """
    given = dict.fromkeys(templates, LEAST)
    if not scarce:
        for wish in (_proven, _hoped):
            _deal(given, templates, memory // _PART, wish)
    return given


def _proven(of: Known) -> int:
    return min(of.proven, MOST)


def _hoped(of: Known) -> int:
    return max(_proven(of), min(of.ceiling, MOST) if of.idle <= RECENT else 0)


def _deal(given: dict[str, int], templates: Mapping[str, Known], room: int, wish: Callable[[Known], int]) -> None:
    """One to each in turn, as long as somebody wishes more and it fits."""
    sizes = {name: max(of.each, EACH) for name, of in templates.items()}
    left = MOST - sum(given.values())
    room -= sum(sizes[name] * count for name, count in given.items())
    wishing = sorted(templates, key=lambda name: templates[name].idle)
    while wishing:
        for name in list(wishing):
            if left <= 0 or sizes[name] > room or given[name] >= wish(templates[name]):
                wishing.remove(name)
                continue
            given[name] += 1
            left -= 1
            room -= sizes[name]


def ceiling(most: int, request: int, memory: int) -> int:
    """How many containers a function may have at once. ``most``: its own limit, or 0. ``request``: bytes that each asks
    for."""
    fit = memory // max(request, 1)
    return min(most, fit) if most else fit


def timely(waiting: int, proven: int, *, calls: int, rested: bool, settled: float, idle: float) -> bool:
    """Whether it is the time to make another one, with so many ``waiting`` already. ``calls``: how many wait for a fork
    now. ``rested``: the one before is done, and others had their turn. ``settled``: seconds since the last one was
    wanted. ``idle``: the part of the processors' time that is free."""
    if waiting < LEAST:
        return True
    if calls:
        return False
    return waiting < proven or (rested and settled >= SETTLED and idle >= _QUIET)
