"""Items of queues. Values are pickled; the server does not look at them.

``partition``: "" is the one without a name.
"""
from __future__ import annotations

from typing import TypedDict


class QueuePut(TypedDict):
    """Attachments: the values. All or, where there is no room for all, none. ``ttl``: seconds."""

    id: str
    partition: str
    ttl: float
    op: int
    low: int


class QueueTaken(TypedDict):
    """Whether they were taken in."""

    done: bool


class QueueRoom(TypedDict):
    """A stream of one ``Empty``, when there is room for ``count`` more. Whoever asked first is told first, and has the
    room to itself until it leaves the stream; but a put that comes by itself may be faster.
    """

    id: str
    partition: str
    count: int


class QueueGet(TypedDict):
    """A stream of at most one ``QueueHanded``. The items are the getter's when ``queue.take`` said so; when the stream
    ends before, they are given to another one. ``wait`` False: ends without an item where there is none.
    """

    id: str
    partition: str
    count: int
    wait: bool


class QueueHanded(TypedDict):
    """Attachments: the values. ``part`` and ``seqs`` say where they were."""

    hand: str
    part: int
    seqs: list[int]


class QueueTake(TypedDict):
    """Take what was handed over. ``done`` of the answer False: it has gone back, ask again."""

    id: str
    hand: str
    op: int
    low: int


class QueueBack(TypedDict):
    """Attachments: values that were taken, and that their getter has no use for: they go where they were."""

    id: str
    partition: str
    part: int
    seqs: list[int]
    op: int
    low: int


class QueueLen(TypedDict):
    """``total``: of all partitions."""

    id: str
    partition: str
    total: bool


class QueueCount(TypedDict):
    len: int


class QueueClear(TypedDict):
    """``all``: all partitions."""

    id: str
    partition: str
    all: bool
    op: int
    low: int


class QueueLook(TypedDict):
    """A stream of pages of the items in order; they stay. ``after``: the last one seen. ``follow``: go on with those
    that come later.
    """

    id: str
    partition: str
    after: int
    follow: bool


class QueuePage(TypedDict):
    """Attachments: the values. ``last``: number of the last one."""

    last: int


class QueueFigures(TypedDict):
    """``total``: at most 100,001."""

    partitions: int
    total: int
