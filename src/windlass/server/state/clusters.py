"""Clusters: containers of one function that are started, leased to and ended together.

Which containers are in it, and their ranks, stand in the rows of these. What ranks have reported of the attempt that
runs is memory only: their reports are answered when all have come, so that after a restart they come again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from windlass.server.state import moves, work

if TYPE_CHECKING:
    from windlass.server.state import machines


class Cluster:
    """``members`` by rank. An attempt is in ``held`` of them all, and held for its input by one."""

    __slots__ = ("answers", "broken", "id", "members", "result", "size")

    def __init__(self, identity: str, size: int) -> None:
        self.id = identity
        self.size = size
        self.members: dict[int, machines.Container] = {}
        self.answers: dict[int, Any] = {}
        """Reports of the ranks that have run the attempt to its end, which wait for the others."""
        self.result: tuple[bytes | None, work.Data] = None, work.NO_DATA
        """What rank 0 returned."""
        self.broken = False
        """An attempt ended before all ranks had: what they do now is of no use, and so are they."""

    @property
    def first(self) -> machines.Container:
        """Rank 0, or in its absence whoever comes next."""
        return self.members[min(self.members)]

    @property
    def whole(self) -> bool:
        """Whether all of it is there and may be leased to."""
        there = (c.state == moves.ContainerState.READY and c.peer is not None for c in self.members.values())
        return not self.broken and len(self.members) == self.size and all(there)

    @property
    def lasts(self) -> bool:
        """Whether it is there, or will be."""
        may = (c.state <= moves.ContainerState.READY for c in self.members.values())
        return not self.broken and len(self.members) == self.size and all(may)

    @property
    def idle(self) -> bool:
        return self.whole and not any(c.held for c in self.members.values())
