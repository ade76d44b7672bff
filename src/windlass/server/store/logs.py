"""Rows of log entries, in the order in which they arrived."""

from __future__ import annotations

from typing import Any, NamedTuple

from windlass.server.store import database
from windlass.wire.messages import apps

_SQL = database.queries("logs")


class New(NamedTuple):
    """An entry to store. Numbers, not ids, but for call and input, which are forgotten before."""

    app: int
    function: int
    container: int
    call_id: str | None
    input_id: str | None
    time: float
    source: str
    text: str


def next_n(db: database.Database) -> int:
    return int(db.all(_SQL["next_n"])[0][0])


def insert(db: database.Database, first: int, entries: list[New]) -> None:
    db.many(_SQL["insert"], [(first + i, *entry) for i, entry in enumerate(entries)])


def _filter(app: int, query: apps.LogQuery) -> dict[str, Any]:
    return {
        "app": app,
        "container": query.get("container_id"),
        "function": query.get("function_id"),
        "call": query.get("call_id"),
        "source": query.get("source"),
        "search": query.get("search") or None,
        "since": query.get("since"),
        "until": query.get("until"),
    }


def after(
    db: database.Database, app: int, app_id: str, query: apps.LogQuery, position: int, limit: int
) -> tuple[list[apps.LogEntry], int]:
    """Entries that match, behind ``position``; and the position behind them."""
    rows = db.all(_SQL["after"], {**_filter(app, query), "after": position, "limit": limit})
    entries: list[apps.LogEntry] = [
        {
            "time": time,
            "source": source,
            "text": text,
            "app_id": app_id,
            "function_id": function or "",
            "container_id": container or "",
            "call_id": call,
            "input_id": input_id,
        }
        for _, time, source, text, function, container, call, input_id in rows
    ]
    return entries, rows[-1][0] if rows else position


def tail_begin(db: database.Database, app: int, query: apps.LogQuery, tail: int) -> int:
    """The position before the last ``tail`` entries that match."""
    if tail <= 0:
        return last_n(db, app)
    return int(db.all(_SQL["tail_begin"], {**_filter(app, query), "tail": tail})[0][0]) if _any(db, app) else 0


def _any(db: database.Database, app: int) -> bool:
    return last_n(db, app) > 0


def last_n(db: database.Database, app: int) -> int:
    return int(db.all(_SQL["last_n"], (app,))[0][0])


def delete_old(db: database.Database, before: float) -> bool:
    """Forget some of the entries older than ``before``. True when more may be left."""
    return db.run(_SQL["delete_old"], (before,)).rowcount >= 5000


def last_of_container(db: database.Database, app: int, container: int, limit: int) -> str:
    """The end of what a container printed."""
    rows = db.all(_SQL["last_of_container"], (app, container, limit))
    return "".join(text for (text,) in reversed(rows))
