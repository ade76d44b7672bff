"""Rows of inputs and outputs: written in batches at the end of a turn."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.state import moves, work
from windlass.server.store import database

_SQL = database.queries("inputs")


class Row(NamedTuple):
    """A queued input as rows know it."""

    key: int
    attempt: int
    retries: int
    crashes: int
    data: work.Data


class HeldRow(NamedTuple):
    """A leased or delayed input."""

    key: int
    state: moves.InputState
    attempt: int
    retries: int
    crashes: int
    container: int | None
    not_before: float
    data: work.Data


def insert(db: database.Database, inputs: list[work.Input]) -> None:
    """New ones. Those that have ended by now have their end in their row, and their payload is not kept."""
    rows, large, done = [], [], []
    for item in inputs:
        data = item.data
        if item.ended is not None:
            where = item.container.n if item.container else None
            done.append((item.key, item.call.function.n, item.attempt, where, *item.ended, data.size, data.blob))
            continue
        inline = data.inline
        if inline is not None and len(inline) > work.LARGE:
            large.append((item.key, inline))
            inline = None
        container = item.container
        rows.append(
            (
                item.key,
                item.call.function.n,
                item.state,
                item.attempt,
                container.n if container else None,
                data.size,
                data.blob,
                inline,
            )
        )
    if rows:
        db.many(_SQL["insert"], rows)
    if done:
        db.many(_SQL["insert_done"], done)
    if large:
        db.many(_SQL["insert_large"], large)


def update(db: database.Database, inputs: list[work.Input]) -> None:
    db.many(
        _SQL["update"],
        [
            (i.state, i.attempt, i.retries, i.crashes, i.container.n if i.container else None, i.not_before, i.key)
            for i in inputs
        ],
    )


def finish(db: database.Database, ended: list[tuple[int, int, int]], large: list[int]) -> None:
    """``ended``: (status, seq, key). ``large``: keys whose payload has a row of its own."""
    db.many(_SQL["done"], ended)
    if large:
        db.many(_SQL["delete_large"], [(key,) for key in large])


def insert_outputs(db: database.Database, outputs: list[tuple[int, work.Output]]) -> None:
    """``outputs``: (number of the call, output)."""
    db.many(
        _SQL["insert_output"],
        [
            (n << work.INDEX_BITS | o.seq, o.idx, o.status, o.retries, o.data.size, o.data.blob, o.body, o.data.inline)
            for n, o in outputs
        ],
    )


def exists(db: database.Database, key: int) -> bool:
    return db.one(_SQL["exists"], (key,)) is not None


def ready(db: database.Database, function: int, limit: int) -> list[Row]:
    return [
        Row(key, attempt, retries, crashes, work.Data(payload, blob, size))
        for key, attempt, retries, crashes, size, blob, payload in db.run(_SQL["ready"], (function, limit))
    ]


def ready_of_call(db: database.Database, call: int, limit: int) -> list[Row]:
    return [
        Row(key, attempt, retries, crashes, work.NO_DATA)
        for key, attempt, retries, crashes in db.all(_SQL["ready_of_call"], {"call": call, "limit": limit})
    ]


def large(db: database.Database, key: int) -> work.Data:
    """A payload that has a row of its own."""
    payload: bytes = db.all(_SQL["large"], (key,))[0][0]
    return work.Data(payload, None, len(payload))


def waiting(db: database.Database, key: int) -> work.Data | None:
    """The payload of an input that has not ended, wherever it lies."""
    row = db.one(_SQL["waiting"], {"key": key})
    return work.Data(row[2], row[1], row[0]) if row else None


def count_ready(db: database.Database, function: int) -> int:
    return int(db.all(_SQL["count_ready"], (function,))[0][0])


def counts_ready(db: database.Database) -> list[tuple[int, int]]:
    return [(function, count) for function, count in db.all(_SQL["counts_ready"])]


def counts_open(db: database.Database) -> list[tuple[int, bool, int]]:
    """(function, whether they were spawned, inputs that have not ended), of all unfinished calls."""
    return [(function, bool(spawned), count) for function, spawned, count in db.all(_SQL["counts_open"])]


def held(db: database.Database) -> list[HeldRow]:
    """All leased and delayed inputs, for the start of the server."""
    return [
        HeldRow(
            key,
            moves.InputState(state),
            attempt,
            retries,
            crashes,
            container,
            not_before,
            work.Data(payload, blob, size),
        )
        for key, state, attempt, retries, crashes, container, not_before, size, blob, payload in db.all(_SQL["held"])
    ]


def output_seq(db: database.Database, key: int) -> int | None:
    """The ``seq`` of the output that ended an input, if it has ended."""
    row = db.one(_SQL["output_seq"], (key,))
    return row[1] if row and row[0] == moves.InputState.DONE else None


def status(db: database.Database, key: int) -> tuple[moves.InputState, moves.Status | None] | None:
    row = db.one(_SQL["status"], (key,))
    return (moves.InputState(row[0]), None if row[1] is None else moves.Status(row[1])) if row else None


def _output(row: tuple[int, int, int, int, bytes | None, bytes | None, str | None, int]) -> work.Output:
    seq, index, kind, retries, body, data, blob, size = row
    return work.Output(seq, index, moves.Status(kind), retries, body, work.Data(data, blob, size))


def outputs_after(db: database.Database, call: int, after: int, limit: int) -> list[work.Output]:
    rows = db.all(_SQL["outputs_after"], {"call": call, "after": after, "limit": limit})
    return [_output(row) for row in rows]


def output(db: database.Database, call: int, seq: int) -> work.Output | None:
    row = db.one(_SQL["output"], (call << work.INDEX_BITS | seq,))
    return _output(row) if row else None
