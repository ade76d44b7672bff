"""Rows of builds and of their output, by the id that the image has or would have had."""

from __future__ import annotations

from typing import NamedTuple

from windlass.server.store import database

_SQL = database.queries("builds")


class Row(NamedTuple):
    """One build. ``ended_at`` is None while it runs, ``error`` None unless it failed."""

    parent: str | None
    command: str
    started_at: float
    ended_at: float | None
    error: str | None
    left_out: int


class Piece(NamedTuple):
    """Some of its output; ``n`` only grows."""

    n: int
    time: float
    text: str


def next_n(db: database.Database) -> int:
    return int(db.all(_SQL["next_n"])[0][0])


def begin(db: database.Database, *, image_id: str, parent: str | None, command: str, now: float) -> None:
    """A build of this image starts; whatever an earlier try left is forgotten."""
    db.run(_SQL["delete_log"], (image_id,))
    db.run(_SQL["begin"], (image_id, parent, command, now))


def finish(db: database.Database, image_id: str, *, error: str | None, now: float) -> None:
    db.run(_SQL["finish"], (now, error, image_id))


def any_running(db: database.Database) -> bool:
    return db.one(_SQL["any_running"]) is not None


def interrupt(db: database.Database, *, error: str, now: float) -> None:
    """End all that still run."""
    db.run(_SQL["interrupt"], {"now": now, "error": error})


def by_image(db: database.Database, image_id: str) -> Row | None:
    row = db.one(_SQL["by_image"], (image_id,))
    return Row(*row) if row else None


def insert(db: database.Database, image_id: str, pieces: list[Piece]) -> None:
    db.many(_SQL["insert"], [(piece.n, image_id, piece.time, piece.text) for piece in pieces])


def leave_out(db: database.Database, image_id: str, *, pieces: list[int], gap: int, note: str, total: int) -> None:
    """Give up ``pieces``. The piece ``gap`` says instead what is missing: ``total`` bytes by now."""
    db.many(_SQL["delete_piece"], [(n,) for n in pieces if n != gap])
    db.run(_SQL["replace"], (note, gap))
    db.run(_SQL["left_out"], (total, image_id))


def after(db: database.Database, image_id: str, position: int, limit: int) -> list[Piece]:
    return [Piece(*row) for row in db.all(_SQL["after"], (image_id, position, limit))]


def last(db: database.Database, image_id: str, pieces: int) -> str:
    """The end of the output."""
    return "".join(text for (text,) in reversed(db.all(_SQL["last"], (image_id, pieces))))


def delete(db: database.Database, image_id: str) -> None:
    """Forget how an image was built."""
    db.run(_SQL["delete_log"], (image_id,))
    db.run(_SQL["delete"], (image_id,))


def delete_old(db: database.Database, before: float, limit: int) -> bool:
    """Forget some of the builds that ended before ``before``. True when more may be left."""
    old = db.all(_SQL["old"], (before, limit))
    for (image_id,) in old:
        delete(db, image_id)
    return len(old) == limit
