"""Rows of calls. A call's inputs and outputs lie in one range of keys."""

from __future__ import annotations

from typing import Any, NamedTuple

from windlass.server.state import moves, work
from windlass.server.store import database

_SQL = database.queries("calls")


class Row(NamedTuple):
    n: int
    id: str
    function: int
    method: str
    kind: int
    client: str | None
    parent: int | None
    closed: int
    cancelled: int
    created_at: float
    done_at: float | None
    num_inputs: int


def next_n(db: database.Database) -> int:
    return int(db.all(_SQL["next_n"])[0][0])


def insert(db: database.Database, call: work.Call) -> None:
    db.run(
        _SQL["insert"],
        (
            call.n,
            call.id,
            call.function.n,
            call.method,
            call.kind,
            call.client,
            call.parent,
            call.closed,
            call.cancelled,
            call.created_at,
            call.done_at,
            0 if call.done_at is None else call.num_inputs,
        ),
    )


def set_closed(db: database.Database, call: work.Call) -> None:
    db.run(_SQL["closed"], (call.n,))


def set_cancelled(db: database.Database, call: work.Call) -> None:
    db.run(_SQL["cancelled"], (call.n,))


def set_done(db: database.Database, calls: list[work.Call]) -> None:
    db.many(_SQL["done"], [(call.done_at, call.num_inputs, call.n) for call in calls])


def by_part(db: database.Database, part: str) -> Row | None:
    row = db.one(_SQL["by_part"], (part,))
    return Row(*row) if row else None


def is_known(db: database.Database, part: str, call_id: str) -> bool:
    """Whether there is a row of a call with that part of its id, or a record of that call."""
    return db.run(_SQL["is_known"], (part, call_id)).fetchone() is not None


def by_n(db: database.Database, n: int) -> Row | None:
    row = db.one(_SQL["by_n"], (n,))
    return Row(*row) if row else None


def fill_counts(db: database.Database, call: work.Call) -> None:
    """Count what rows say about the inputs and outputs of ``call``."""
    total, done, last = db.all(_SQL["counts"], {"call": call.n})[0]
    call.num_inputs, call.num_done, call.next_index = total, done, last + 1
    call.gaps = call.next_index != total
    call.next_seq = db.all(_SQL["last_output"], {"call": call.n})[0][0] + 1
    if call.kind == moves.Kind.GEN:
        call.next_item = db.all(_SQL["count_items"], {"call": call.n})[0][0]


def open_of_client(db: database.Database, client: str) -> list[int]:
    """Unfinished calls whose caller, ``client``, waits for them."""
    return [n for (n,) in db.all(_SQL["open_of_client"], (client,))]


def open_clients(db: database.Database) -> list[str]:
    return [client for (client,) in db.all(_SQL["open_clients"])]


def open_and_cancelled(db: database.Database, function: int) -> list[int]:
    return [n for (n,) in db.all(_SQL["open_and_cancelled"], (function,))]


def cancel_all(db: database.Database, function: int) -> None:
    """Cancel all unfinished calls of a function."""
    db.run(_SQL["cancel_all"], (function,))


def any_open(db: database.Database, function: int) -> bool:
    return bool(db.all(_SQL["any_open"], (function,)))


def cancelled_unfinished(db: database.Database) -> list[int]:
    return [n for (n,) in db.all(_SQL["unfinished"])]


def expired(db: database.Database, before: float, *, sync: bool) -> list[int]:
    return [n for (n,) in db.all(_SQL["expired"], {"before": before, "sync": sync})]


def is_expired(db: database.Database, call_id: str) -> bool:
    """Whether it was a spawned call whose results are no longer kept."""
    return db.one(_SQL["is_expired"], (call_id,)) is not None


def forget_expired(db: database.Database, before: float) -> None:
    db.run(_SQL["forget_expired"], (before,))


def delete(db: database.Database, n: int, now: float) -> list[str]:
    """Forget a call. Returned: the blobs that only its inputs and outputs referred to."""
    db.run(_SQL["remember_expired"], {"call": n, "now": now})
    blobs = [blob for (blob,) in db.all(_SQL["blobs"], {"call": n})]
    for name in ("delete_inputs", "delete_large", "delete_outputs"):
        db.run(_SQL[name], {"call": n})
    db.run(_SQL["delete"], (n,))
    return unused(db, blobs)


def unused(db: database.Database, blobs: list[str]) -> list[str]:
    """Those that nothing of a call refers to any more."""
    return [blob for blob in blobs if db.one(_SQL["blob_used"], {"blob": blob}) is None]


def delete_items(db: database.Database, call: work.Call, seq: int) -> None:
    """Forget a generator's items up to ``seq``."""
    db.run(_SQL["delete_items"], {"call": call.n, "seq": seq})


def children(db: database.Database, n: int, limit: int) -> list[int]:
    """Numbers of the calls that inputs of call ``n`` made."""
    return [child for (child,) in db.all(_SQL["children"], {"call": n, "limit": limit})]


def graph(db: database.Database, n: int, limit: int) -> list[tuple[Any, ...]]:
    """(key, state, status, container id) of the inputs of call ``n``."""
    return db.all(_SQL["graph"], {"call": n, "limit": limit})
