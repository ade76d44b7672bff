"""The database: one connection, opened by the one process that writes; schema by numbered migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from windlass import exception

_HERE = Path(__file__).parent
Parameters = Sequence[Any] | Mapping[str, Any]


def queries(noun: str) -> dict[str, str]:
    """The statements of ``queries/<noun>.sql``: each begins with a line ``-- name: the_name``."""
    found: dict[str, str] = {}
    for block in (_HERE / "queries" / f"{noun}.sql").read_text().split("-- name: ")[1:]:
        name, _, text = block.partition("\n")
        found[name.strip()] = text.strip().rstrip(";")
    return found


def migrations() -> list[str]:
    """The scripts that make a schema, in order; the number of applied ones is the database's version."""
    return [path.read_text() for path in sorted((_HERE / "migrations").glob("*.sql"))]


class Database:
    """Statements and transactions on the file at ``path`` (``":memory:"`` for tests)."""

    def __init__(self, path: str, synchronous: str = "NORMAL") -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise exception.InvalidError(f"synchronous must be NORMAL or FULL, not {synchronous!r}")
        self.path = path
        self.failed: BaseException | None = None
        """Set when a statement failed: the open transaction must not be committed."""
        self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=512, check_same_thread=False)
        try:
            self._prepare(synchronous)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, synchronous: str) -> None:
        run = self._connection.execute
        try:
            run("PRAGMA journal_mode = WAL")
            run(f"PRAGMA synchronous = {synchronous}")
            run("PRAGMA busy_timeout = 5000")
            run("PRAGMA foreign_keys = OFF")
            run("PRAGMA cache_size = -16384")
            run("PRAGMA wal_autocheckpoint = 0")
            run("PRAGMA journal_size_limit = 67108864")
            version = run("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as exc:
            raise _translated(exc, self.path) from exc
        steps = migrations()
        _check_known(version, len(steps), self.path)
        for number, script in enumerate(steps[version:], version + 1):
            try:
                self._connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
            except sqlite3.Error as exc:
                self.rollback()
                raise _not_migrated(exc, self.path, number) from exc

    def run(self, statement: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, parameters)
        except sqlite3.Error as exc:
            self.failed = exc
            raise _translated(exc, self.path) from exc

    def many(self, statement: str, rows: Iterable[Parameters]) -> None:
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as exc:
            self.failed = exc
            raise _translated(exc, self.path) from exc

    def one(self, statement: str, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self.run(statement, parameters).fetchone()
        return row

    def all(self, statement: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        return self.run(statement, parameters).fetchall()

    def begin(self) -> None:
        self.run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.run("COMMIT")

    def rollback(self) -> None:
        self.failed = None
        if self._connection.in_transaction:
            self._connection.rollback()

    def touch(self) -> None:
        """Write something that changes nothing: the commit tells whether the disk takes it."""
        (version,) = self.run("PRAGMA user_version").fetchone()
        self.run(f"PRAGMA user_version = {int(version)}")

    def checkpoint(self) -> None:
        """Move what was committed from the log into the database. On another connection: may run in another thread."""
        try:
            other = sqlite3.connect(self.path, isolation_level=None)
            try:
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                other.close()
        except sqlite3.Error as exc:
            raise _translated(exc, self.path) from exc

    def truncate_log(self) -> None:
        """Empty the log, waiting for nobody: for the end, and for when the checkpoints do not keep up."""
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def log_size(self) -> int:
        """Bytes of the write-ahead log."""
        try:
            return Path(self.path + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()


def _not_migrated(exc: sqlite3.Error, path: str, number: int) -> exception.Error:
    """Each step is a transaction, so the steps before it are done and this one is not begun."""
    error = _translated(exc, path)
    return type(error)(
        f"the database {path} stays at schema {number - 1}, because it could not be brought to {number}: {error}",
        hint=error.hint or "The release that wrote it still reads it. Go back to that one, and report this.",
    )


def check(path: Path) -> None:
    """Look whether a server would take the database of a platform that does not run; nothing is changed.

    Raises:
        VersionError: a newer release wrote it.
        DataLossError: it is damaged.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.Error as exc:
        raise _translated(exc, str(path)) from exc
    finally:
        connection.close()
    _check_known(version, len(migrations()), str(path))


def _check_known(version: int, known: int, path: str) -> None:
    if version > known:
        raise exception.VersionError(
            f"the database {path} was written by a newer Windlass (schema {version}; this one knows {known})",
            hint="Upgrade Windlass, or move the state folder away to begin anew.",
        )


def _translated(exc: sqlite3.Error, path: str) -> exception.Error:
    text = str(exc)
    if "full" in text or "disk I/O" in text:
        return exception.ResourceExhaustedError(
            f"the server cannot write its database: {text} ({path})", hint="Free space on that disk and try again."
        )
    if "malformed" in text or "not a database" in text:
        return exception.DataLossError(
            f"the database {path} is damaged: {text}", hint="Restore it from a copy, or move the state folder away."
        )
    if "readonly" in text or "unable to open" in text:
        return exception.PermissionDeniedError(f"the server cannot open its database {path}: {text}")
    return exception.InternalError(f"{type(exc).__name__}: {text}")
