"""Rows of proxies."""

from __future__ import annotations

import json
from typing import NamedTuple

from windlass.server.store import database, lasting

_SQL = database.queries("proxies")


class Row(NamedTuple):
    id: str
    environment: str
    name: str
    addresses_json: str
    created_at: float
    created_by: str

    @property
    def addresses(self) -> list[str]:
        found: list[str] = json.loads(self.addresses_json)
        return found


_rows = lasting.Rows(_SQL, Row)
by_id, by_name, named = _rows.by_id, _rows.by_name, _rows.named
insert, rename_environment = _rows.insert, _rows.rename_environment


def delete(db: database.Database, proxy_id: str) -> None:
    db.run(_SQL["delete"], (proxy_id,))


def delete_environment(db: database.Database, environment: str) -> None:
    db.run(_SQL["delete_environment"], (environment,))
