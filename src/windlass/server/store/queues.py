"""Rows of queues: partitions and their items."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("queues")


class Partition(NamedTuple):
    queue: int
    key: bytes
    n: int
    expires_at: float
    next: int


def partition(db: database.Database, queue: int, key: bytes) -> Partition | None:
    row = db.one(_SQL["partition"], (queue, key))
    return Partition(*row) if row else None


def write_partition(db: database.Database, row: Partition) -> None:
    db.run(_SQL["write_partition"], row._asdict())


def move(db: database.Database, leap: float) -> None:
    """What is in them expires so much later."""
    db.run(_SQL["move"], {"by": leap})


def forget_partition(db: database.Database, row: Partition) -> None:
    db.run(_SQL["forget_partition"], (row.queue, row.key))


def some_partitions(db: database.Database, queue: int, limit: int) -> list[Partition]:
    return [Partition(*row) for row in db.all(_SQL["some_partitions"], (queue, limit))]


def idle_partitions(db: database.Database, queue: int, now: float, limit: int) -> list[Partition]:
    """Those that have expired or are empty."""
    query = {"queue": queue, "now": now, "limit": limit}
    return [Partition(*row) for row in db.all(_SQL["idle_partitions"], query)]


def walk(db: database.Database, behind: tuple[int, bytes], limit: int) -> list[Partition]:
    """The next partitions of all queues."""
    return [Partition(*row) for row in db.all(_SQL["walk"], (*behind, limit))]


def count_partitions(db: database.Database, queue: int) -> int:
    return _number(db, "count_partitions", (queue,))


def insert(db: database.Database, part: int, first: int, values: Iterable[bytes]) -> None:
    """Append items, numbered from ``first``."""
    db.many(_SQL["insert"], ((part, seq, value) for seq, value in enumerate(values, first)))


def insert_again(db: database.Database, part: int, seq: int, value: bytes) -> bool:
    """Put an item where it was. False when it is there."""
    return db.run(_SQL["insert_again"], (part, seq, value)).rowcount == 1


def items(db: database.Database, part: int, first: int) -> Iterator[tuple[int, bytes]]:
    """Items in order from number ``first``, read as they are wanted. Close it."""
    with contextlib.closing(db.run(_SQL["items"], (part, first))) as rows:
        yield from rows


def delete(db: database.Database, part: int, seqs: Iterable[int]) -> None:
    db.many(_SQL["delete"], ((part, seq) for seq in seqs))


def delete_some(db: database.Database, part: int, limit: int) -> bool:
    """Delete items of a content that may go. True when there may be more."""
    seqs = [seq for (seq,) in db.all(_SQL["some"], (part, limit))]
    delete(db, part, seqs)
    return len(seqs) == limit


def count(db: database.Database, part: int) -> int:
    return _number(db, "count", (part,))


def total(db: database.Database, queue: int, now: float, most: int) -> int:
    """Items of all partitions, counting no more than ``most``."""
    return _number(db, "total", {"queue": queue, "now": now, "most": most})


def filled_partitions(db: database.Database, queue: int, now: float) -> int:
    return _number(db, "filled_partitions", {"queue": queue, "now": now})


def _number(db: database.Database, name: str, parameters: database.Parameters) -> int:
    row = db.one(_SQL[name], parameters)
    assert row is not None
    return int(row[0])
