"""Rows of schedules: what runs next, and when it ran last."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from windlass.server.state import schedules
from windlass.server.store import database

_SQL = database.queries("schedules")


class Row(NamedTuple):
    function: int
    plan: schedules.Plan
    fired_at: float | None
    call_id: str | None


def active(db: database.Database) -> list[Row]:
    return [
        Row(function, schedules.Plan(json.loads(text), since, math.inf if at is None else at), fired_at, call_id)
        for function, text, since, at, fired_at, call_id in db.all(_SQL["all"])
    ]


def put(db: database.Database, entry: schedules.Entry) -> None:
    """The row as its memory is."""
    plan = entry.plan
    at = None if math.isinf(plan.next_at) else plan.next_at
    row = (entry.function.n, json.dumps(plan.schedule), plan.since, at, entry.fired_at, entry.call_id)
    db.run(_SQL["put"], row)


def delete(db: database.Database, function: int) -> None:
    db.run(_SQL["delete"], (function,))
