"""Lists as people and programs read them."""
from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click


def show(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool, spare: Sequence[str] = ()
) -> None:
    """A table, or with ``as_json`` objects whose keys are the columns' titles in small letters and underscores.

    ``spare``: titles of columns that a terminal without room does without, the first of them first.
    """
    if as_json:
        keys = [re.sub(r"[^a-z0-9]", "_", column.lower()) for column in columns]
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    from windlass.cli import tables

    tables.show(columns, [["" if cell is None else str(cell) for cell in row] for row in rows], spare)


def iso(seconds: float | None) -> str | None:
    """Local time with its offset, ISO 8601."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def short(text: str, limit: int = 60) -> str:
    """One line that fits into a column."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def facts(known: Mapping[str, Any]) -> None:
    """One fact a line, names in a column."""
    width = max(map(len, known)) + 1
    for name, value in known.items():
        click.echo(f"{name + ':':<{width}} {value}")
