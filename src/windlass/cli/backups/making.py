"""Making a backup of a home, whether its platform runs or not."""
from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from windlass import exception
from windlass.cli import control
from windlass.cli.backups import entries, parts, places
from windlass.server.objects import gate

FORMAT = 1
_PATIENCE = 120.0


class Made(NamedTuple):
    """``left``: folders with something in them whose path is too long to be kept."""

    files: int
    size: int
    left: list[str]


def make(home: Path, target: Path, *, images: bool = False) -> Made:
    """Raises ``NotFoundError`` where nothing is to be kept, ``ConflictError`` while another one is made."""
    if not (home / parts.DATABASE).exists():
        raise exception.NotFoundError(f"there is no state in {home}", hint="Has the platform run in this home?")
    names = (*parts.STATE, *(parts.IMAGES if images else ()))
    with _told(target), gate.of(home).shut(_PATIENCE), places.writing(target) as sink, _database(home) as snapshot:
        sink.note(places.HEAD, _json(_head(home, snapshot, names)))
        return _Making(sink).run(home, snapshot, names)


class _Making:
    """``first``: the path at which a file of several names was seen first. It is known by device and number, and by
    size and time: the number of what was removed meanwhile may be another one's since."""

    def __init__(self, sink: places.Sink) -> None:
        self._sink = sink
        self._lines: list[str] = []
        self._first: dict[tuple[int, ...], str] = {}
        self._files = self._size = 0

    def run(self, home: Path, snapshot: Path, names: tuple[str, ...]) -> Made:
        taken = entries.look(parts.DATABASE, snapshot)
        assert taken is not None
        self._put(taken, snapshot)
        left: list[str] = []
        for entry, place in parts.found(home, names, left):
            with contextlib.suppress(FileNotFoundError):  # a file that somebody removed meanwhile, of an nfs
                self._put(entry, place)
        text = "".join(f"{line}\n" for line in self._lines).encode()
        self._sink.note(places.FILES, text)
        self._sink.note(places.SEAL, _json({"files": hashlib.sha256(text).hexdigest(), "size": len(text)}))
        return Made(self._files, self._size, [os.fsencode(path).decode(errors="replace") for path in left])

    def _put(self, entry: entries.Entry, place: Path) -> None:
        if entry.kind == entries.FILE:
            if parts.is_known_lost(entry.path, place):
                return  # its mark goes along, by which whoever restores this is told, too
            entry = self._file(entry, place)
        self._lines.append(entry.line())

    def _file(self, entry: entries.Entry, place: Path) -> entries.Entry:
        state = place.stat()
        which = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
        known = self._first.setdefault(which, entry.path) if state.st_nlink > 1 else entry.path
        if known != entry.path:
            return dataclasses.replace(entry, kind=entries.SAME, target=known, size=0)
        try:
            digest = self._sink.add(entry, place)
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            raise exception.DataLossError(
                f"{place} cannot be read: the disk does not give what was stored",
                hint="`windlass volume check` notes what is lost of a volume; a backup goes without it then.",
            ) from exc
        self._files += 1
        self._size += entry.size
        return dataclasses.replace(entry, digest=digest)


def _head(home: Path, snapshot: Path, names: tuple[str, ...]) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(snapshot)) as db:
        (schema,) = db.execute("PRAGMA user_version").fetchone()
    return {
        "format": FORMAT, "schema": schema, "release": control.version(), "home": str(home), "parts": names,
        "created_at": time.time(), "in_a_bucket": (home / "blobs" / "kept").exists(),
    }  # fmt: skip


@contextlib.contextmanager
def _database(home: Path) -> Iterator[Path]:
    """A copy of the database as it is at one moment; its writer does not wait for it."""
    folder = Path(tempfile.mkdtemp(prefix="backup-", dir=home / "db"))
    copy = folder / "windlass.sqlite3"
    try:
        with contextlib.closing(sqlite3.connect(home / parts.DATABASE, timeout=30)) as db:
            with contextlib.closing(sqlite3.connect(copy)) as other:
                db.backup(other)
                other.execute("PRAGMA journal_mode = DELETE")
        yield copy
    except sqlite3.Error as exc:
        raise exception.DataLossError(f"the database cannot be read: {exc}") from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as exc:
        raise exception.PermissionDeniedError(
            f"no permission for {exc.filename}", hint="Make the backup as the user whose platform it is."
        ) from exc
    except OSError as exc:
        raise exception.ResourceExhaustedError(
            f"the backup could not be written to {target}: {exc.strerror or exc}", hint="Has that disk enough room?"
        ) from exc


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode()
