"""The beginning and the end of a text that comes in pieces and may be longer than what is kept of it.

    [ head: the first pieces ] [ gap: left out ] [ tail: the last pieces ]
"""

from __future__ import annotations

from collections import deque


class Excerpt:
    """Says which pieces to give up. ``head`` and ``tail``: how many bytes are kept of each end."""

    def __init__(self, *, head: int, tail: int) -> None:
        self._head_left = head
        self._tail_limit = tail
        self._tail: deque[tuple[int, int]] = deque()
        self._tail_size = 0
        self.gap: int | None = None
        """The first piece that was given up."""
        self.given_up = -1
        """The last piece that was given up."""
        self.left_out = 0
        """Bytes given up."""

    def add(self, n: int, size: int) -> list[int]:
        """Piece ``n`` of ``size`` bytes has come. Returned: pieces to give up; the newest one always stays."""
        if not self._tail and size <= self._head_left:
            self._head_left -= size
            return []
        self._tail.append((n, size))
        self._tail_size += size
        dropped = []
        while self._tail_size > self._tail_limit and len(self._tail) > 1:
            oldest, bytes_of_it = self._tail.popleft()
            self._tail_size -= bytes_of_it
            self.left_out += bytes_of_it
            dropped.append(oldest)
        if dropped:
            self.gap = dropped[0] if self.gap is None else self.gap
            self.given_up = dropped[-1]
        return dropped

    def missed(self, position: int) -> bool:
        """Whether one who has read up to ``position`` misses pieces without seeing the gap."""
        return self.gap is not None and self.gap <= position < self.given_up
