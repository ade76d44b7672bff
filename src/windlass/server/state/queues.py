"""Partitions of queues as long as somebody deals with them: who waits, and what is on its way to whom.

The rows are the truth of what is in a partition. What is here can be lost: then whoever waits asks again, and what was
handed over but not confirmed is simply in the queue.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

_REMEMBERED = 10_000
"""Partitions that are kept although nobody deals with them."""


class Part:
    """One partition. ``n``: of its content, 0 while there is no row."""

    __slots__ = (
        "count", "expires_at", "first", "followers", "held", "key", "n", "next", "queue", "reserved", "room", "stirred",
        "waiters",
    )  # fmt: skip

    def __init__(self, queue: int, key: bytes) -> None:
        self.queue = queue
        self.key = key
        self.n = 0
        self.expires_at = 0.0
        self.next = 1
        """The number of the next item."""
        self.count = 0
        """Rows, those that are held among them."""
        self.first = 1
        """No item with a lower number is free."""
        self.held: set[int] = set()
        """Numbers of the items that were handed over and not confirmed yet."""
        self.waiters: collections.deque[Any] = collections.deque()
        """Getters, who came first at the left."""
        self.room: collections.deque[Any] = collections.deque()
        """Putters that wait for room."""
        self.reserved: dict[Any, int] = {}
        """Putters that were told of room, and how much of it."""
        self.followers: list[Any] = []
        """Readers that wait for items to come."""
        self.stirred = False
        """Whether it will be looked at after the commit."""

    @property
    def idle(self) -> bool:
        return not (self.held or self.waiters or self.room or self.reserved or self.followers or self.stirred)

    @property
    def free(self) -> int:
        """How many items can be handed over."""
        return self.count - len(self.held)


class Queues:
    """All partitions in memory, by the queue's content and their key; and what was handed over."""

    def __init__(self) -> None:
        self.by_content: dict[int, dict[bytes, Part]] = {}
        self.partitions: dict[int, int] = {}
        """How many rows of partitions a queue has, by content; where that is known."""
        self.hands: dict[str, Any] = {}
        self.size = 0
        self._most = _REMEMBERED
        self._hands = 0

    def new_hand(self, server_id: str) -> str:
        """A name that no other server gives, and this one never again."""
        self._hands += 1
        return f"{server_id}:{self._hands}"

    def find(self, queue: int, key: bytes) -> Part | None:
        return self.by_content.get(queue, {}).get(key)

    def add(self, part: Part) -> None:
        if self.size >= self._most:
            self._forget_idle()
            self._most = max(_REMEMBERED, 2 * self.size)  # where most are busy, do not look at all of them again soon
        self.by_content.setdefault(part.queue, {})[part.key] = part
        self.size += 1

    def remove(self, part: Part) -> None:
        del self.by_content[part.queue][part.key]
        self.size -= 1

    def take(self, queue: int) -> list[Part]:
        """Remove all partitions of a queue."""
        self.partitions.pop(queue, None)
        parts = list(self.by_content.pop(queue, {}).values())
        self.size -= len(parts)
        return parts

    def _forget_idle(self) -> None:
        for queue in list(self.by_content):
            busy = {key: part for key, part in self.by_content[queue].items() if not part.idle}
            self.size -= len(self.by_content[queue]) - len(busy)
            if busy:
                self.by_content[queue] = busy
            else:
                del self.by_content[queue]
                self.partitions.pop(queue, None)

    def __iter__(self) -> Iterator[Part]:
        for parts in self.by_content.values():
            yield from parts.values()

    def clear(self) -> None:
        self.by_content.clear()
        self.partitions.clear()
        self.hands.clear()
        self.size = 0
