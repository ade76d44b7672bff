"""Rows of records and of figures by the minute."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from windlass.server.state import records
from windlass.server.store import database

_SQL = database.queries("records")


class Listed(NamedTuple):
    """A record with the ids of what it belongs to; None where that is forgotten."""

    call: str
    idx: int
    attempt: int
    app_id: str | None
    app_name: str | None
    app_description: str | None
    function_id: str | None
    tag: str | None
    method: str
    kind: int
    outcome: int
    final: int
    container_id: str | None
    exit: str | None
    queue: float
    start: float
    run: float
    cpu: float | None
    peak: int | None
    ended_at: float
    reason: str
    size: int


class Kept(NamedTuple):
    """The last record of an input with its arguments, as far as they are kept. ``made_at``: when the container that it
    ran in was decided on, for that is when its code was chosen."""

    function: int
    method: str
    kind: int
    outcome: int
    size: int
    blob: str | None
    payload: bytes | None
    made_at: float


def insert(db: database.Database, rows: list[records.Record]) -> None:
    db.many(_SQL["insert"], rows)


def listed(
    db: database.Database, *, function: int | None, app: int | None, environment: str | None, failed: bool, limit: int
) -> list[Listed]:
    """Newest first."""
    chosen = {"function": function, "app": app, "environment": environment, "failed": failed, "limit": limit}
    return [Listed(*row) for row in db.all(_SQL["listed"], chosen)]


def of_call(db: database.Database, call_id: str, limit: int) -> list[Listed]:
    return [Listed(*row) for row in db.all(_SQL["of_call"], {"call": call_id, "limit": limit})]


def last_of_input(db: database.Database, call_id: str, index: int) -> Kept | None:
    row = db.one(_SQL["last_of_input"], (call_id, index))
    return Kept(*row) if row else None


def function_of_call(db: database.Database, call_id: str) -> int | None:
    row = db.one(_SQL["function_of_call"], (call_id,))
    return row[0] if row else None


def put_minute(db: database.Database, function: int, minute: records.Minute) -> None:
    """Write the row of a minute; what an earlier server counted is added."""
    if not minute.stored and (row := db.one(_SQL["minute"], (function, minute.number))):
        minute.merge(json.loads(row[0]))
    db.run(_SQL["put_minute"], (function, minute.number, json.dumps(minute.packed(), separators=(",", ":"))))
    minute.stored, minute.dirty = True, False


class Whose(NamedTuple):
    """Figures of what: of a function with or without its variants, or of an app."""

    function: int | None
    app: int | None
    variants: bool


def figures(db: database.Database, whose: Whose, since: float, until: float) -> records.Minute:
    """All minutes from ``since`` to ``until`` as one."""
    total = records.Minute()
    span = {**whose._asdict(), "since": int(since // 60), "until": int(until // 60)}
    for (packed,) in db.run(_SQL["minutes"], span):
        total.merge(json.loads(packed))
    return total


def starts(
    db: database.Database, whose: Whose, since: float, until: float
) -> list[tuple[float, float | None, float | None, dict[str, float]]]:
    """(planned, made, ready, phases) of containers planned in that time."""
    span = {**whose._asdict(), "since": since, "until": until}
    return [(*row[:3], json.loads(row[3])) for row in db.all(_SQL["starts"], span)]


def forget(db: database.Database, *, before: float, most: int, bytes: int) -> tuple[list[str], bool]:
    """Delete old records, those beyond the newest ``most``, and arguments beyond the newest ``bytes`` of them.

    Returned: blobs that may be unused now, and whether more may be left.
    """
    limit = 5000
    blobs: list[tuple[Any, ...]] = db.all(_SQL["old_blobs"], {"before": before, "limit": limit})
    deleted = db.run(_SQL["delete_old"], {"before": before, "limit": limit}).rowcount
    if behind := db.one(_SQL["behind"], {"most": most}):
        blobs += db.all(_SQL["blobs_to"], behind)
        db.run(_SQL["delete_to"], behind)
    if db.all(_SQL["kept_bytes"])[0][0] > bytes:
        for n, size in db.all(_SQL["kept"]):
            bytes -= size
            if bytes < 0:
                blobs += db.all(_SQL["blobs_to"], (n,))
                db.run(_SQL["drop_payloads"], (n,))
                break
    return [blob for (blob,) in blobs], deleted >= limit


def forget_minutes(db: database.Database, before: float) -> None:
    db.run(_SQL["delete_minutes"], (int(before // 60),))


def forget_app(db: database.Database, app: int) -> list[str]:
    """With an app all records of its functions go. Returned: blobs that may be unused now."""
    blobs = [blob for (blob,) in db.all(_SQL["blobs_of_app"], (app,))]
    db.run(_SQL["delete_of_app"], (app,))
    db.run(_SQL["delete_minutes_of_app"], (app,))
    return blobs
