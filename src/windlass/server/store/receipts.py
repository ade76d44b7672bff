"""Rows of receipts: answers that a client may ask for again."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.state import work
from windlass.server.store import database

_SQL = database.queries("receipts")


class Receipt(NamedTuple):
    """``answer``: the message as JSON but for its payload."""

    answer: str
    data: work.Data


def find(db: database.Database, client: str, op: int) -> Receipt | None:
    row = db.one(_SQL["find"], (client, op))
    return Receipt(row[0], work.Data(row[3], row[2], row[1])) if row else None


def highest(db: database.Database, client: str) -> int:
    """The highest number of an operation of which there is a receipt."""
    row = db.one(_SQL["highest"], (client,))
    assert row is not None
    return int(row[0])


def insert(db: database.Database, client: str, op: int, receipt: Receipt, now: float) -> None:
    data = receipt.data
    db.run(_SQL["insert"], (client, op, now, receipt.answer, data.size, data.blob, data.inline))


def forget_seen(db: database.Database, client: str, low: int) -> list[str]:
    """Those that the client has got the answers of. Returned: blobs that they referred to."""
    blobs = [blob for (blob,) in db.all(_SQL["seen_blobs"], (client, low))]
    db.run(_SQL["forget_seen"], (client, low))
    return blobs


def forget_old(db: database.Database, before: float) -> list[str]:
    """Those that no client can ask for any more. Returned: blobs that they referred to."""
    blobs = [blob for (blob,) in db.all(_SQL["old_blobs"], (before,))]
    db.run(_SQL["forget_old"], (before,))
    return blobs
