"""Rows of objects that have an id, and in an environment a name; without a name they last as long as they are heard of.

The queries of such a kind have the same names, and its rows begin with what ``Row`` has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from windlass.server.store import database

R = TypeVar("R", bound=tuple[Any, ...])


class Rows(Generic[R]):
    """``sql``: the queries of the kind by name; ``row``: makes one of its rows of their columns."""

    def __init__(self, sql: Mapping[str, str], row: Callable[..., R]) -> None:
        self._sql = sql
        self._row = row

    def by_id(self, db: database.Database, identity: str) -> R | None:
        row = db.one(self._sql["by_id"], (identity,))
        return self._row(*row) if row else None

    def by_name(self, db: database.Database, environment: str, name: str) -> R | None:
        row = db.one(self._sql["by_name"], (environment, name))
        return self._row(*row) if row else None

    def named(self, db: database.Database, environment: str) -> list[R]:
        """Newest first."""
        return [self._row(*row) for row in db.all(self._sql["named"], (environment,))]

    def silent(self, db: database.Database, before: float) -> list[R]:
        """Those without a name whose owner was not heard since."""
        return [self._row(*row) for row in db.all(self._sql["silent"], (before,))]

    def insert(self, db: database.Database, row: R) -> None:
        db.run(self._sql["insert"], row)

    def beat(self, db: database.Database, identity: str, now: float) -> None:
        db.run(self._sql["beat"], (now, identity))

    def rename_environment(self, db: database.Database, old: str, new: str) -> None:
        db.run(self._sql["rename_environment"], {"old": old, "new": new})
