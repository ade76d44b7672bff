"""The forks of one template that wait to be containers: made in spare time, as many as shall wait; taken at once."""
from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from windlass import exception
from windlass.worker import cgroups, network
from windlass.worker import folder as folders
from windlass.worker.snapshots import reserve, spare

_log = logging.getLogger(__name__)
CELLS = "cells"
"""The folder, in a template's, of its forks' folders."""
_RETRY = 1.0
_GENTLE = 0.05  # seconds between forks that are given back
_PATIENCE = 0.2  # seconds between looks for spare time


class Cold(Exception):
    """There is no template, and why; "" where that was told already. ``untold``: whoever was to be told is gone."""

    def __init__(self, why: str, untold: Callable[[], None] = lambda: None) -> None:
        super().__init__(why)
        self.untold = untold


class Cell(NamedTuple):
    """A fork that waits in its place. ``first``: process 1 there; ``process``: the fork. ``held`` gives all back."""

    name: str
    folder: folders.Folder
    first: int
    process: int
    net: network.Network
    group: cgroups.Cgroup
    held: contextlib.AsyncExitStack


class Stock:
    """``owner``: the template's name. ``ceiling``: how many containers there may be of it at once."""

    def __init__(self, owner: str, *, ceiling: int = reserve.MOST) -> None:
        self.used_at = time.monotonic()
        self.over = False
        self._owner = owner
        self._ceiling = ceiling
        self._cells: list[Cell] = []
        self._demand = reserve.Demand()
        self._each = 0
        """Bytes of memory of a fork that waits."""
        self._lost: set[str] = set()
        """Cells whose fork has ended before it was a container."""
        self._wanted = asyncio.Event()
        self._due = True
        self._make: Callable[[], Awaitable[Cell]] | None = None
        self._spare = spare.Spare()

    def close(self) -> None:
        """No more forks."""
        self.over = True
        self._wanted.set()

    async def fill(self, make: Callable[[], Awaitable[Cell]], share: Callable[[], int], time_for: spare.Spare) -> None:
        """Keep ``share()`` forks ready, made when there is ``time_for`` it, until there shall be no more."""
        self._make = make
        self._spare = time_for
        try:
            await self._refill(make, share)
        except asyncio.CancelledError as exc:
            for ready in self._cells:  # the worker ends: the next one sees to what they hold
                await ready.held.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        while self._cells:
            await self._cells.pop().held.aclose()

    async def _refill(self, make: Callable[[], Awaitable[Cell]], share: Callable[[], int]) -> None:
        while not self.over:
            self._wanted.clear()
            try:
                await self._bury()
                pause = await self._step(make, share())
            except (Cold, exception.Error, OSError) as exc:
                _log.warning("a cell of %s: %s", self._owner, exc)
                await asyncio.sleep(_RETRY)
                continue
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), pause)

    async def _step(self, make: Callable[[], Awaitable[Cell]], share: int) -> float | None:
        """One more, or one less. The seconds after which it is time to look again; None where all is as it shall be."""
        waiting, proven = len(self._cells), self._demand.proven(time.monotonic())
        if waiting > share:
            await self._cells.pop().held.aclose()
            return _GENTLE
        if waiting == share:
            return None
        if waiting >= max(proven, reserve.LEAST):
            self._due = False
        elif not self._due:
            return None  # who has just been taken shall not be late for one more
        if not self._spare.is_now(waiting, proven):
            return _PATIENCE
        with self._spare.used():
            self._cells.append(await make())
        return 0

    def known(self) -> reserve.Known:
        """What is to be known for its share of the forks that wait."""
        now = time.monotonic()
        return reserve.Known(self._demand.proven(now), now - self.used_at, self._ceiling, self._each)

    def look(self) -> None:
        """From time to time: weigh what waits, and give back what waits for nobody any more."""
        self._each = max((ready.group.used() for ready in self._cells), default=self._each)
        self.refresh()

    def refresh(self) -> None:
        """It is time to make again what was taken."""
        self._due = True
        self._wanted.set()

    async def _bury(self) -> None:
        """Give back the cells whose forks have ended."""
        for spoiled in [known for known in self._cells if known.name in self._lost]:
            self._cells.remove(spoiled)
            self._lost.remove(spoiled.name)
            await spoiled.held.aclose()

    def lose(self, name: str) -> None:
        """The fork in that cell has ended."""
        self._lost.add(name)
        self.refresh()

    def was_lost(self, name: str) -> bool:
        """Whether the fork has ended that was taken from that cell; asked once."""
        if name not in self._lost:
            return False
        self._lost.remove(name)
        return True

    async def take(self) -> Cell:
        """A fork: a ready one, or made now. Raises ``Cold``."""
        self.used_at = time.monotonic()
        self._demand.note(self.used_at)
        if self.over or self._make is None:
            raise Cold("its template has ended")
        with self._spare.wanted():
            ready = next((known for known in self._cells if known.name not in self._lost), None)
            if ready is None:
                try:
                    return await self._make()
                except (OSError, exception.Error) as exc:
                    raise Cold(f"it could not be forked: {exc}") from None
            self._cells.remove(ready)
            return ready
