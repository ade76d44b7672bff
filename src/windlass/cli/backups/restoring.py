"""Restoring a backup: all of it is made beside the home's own state and compared first, then exchanged.

    read ─► .restored-<id>/ ─► digests, database ─► restore.json ─► renames ─► restore.json gone

Killed before ``restore.json`` is there, nothing has changed. Killed later, nothing starts on the home until the renames
are finished (``finish``), which needs neither the backup nor room.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from windlass import exception, paths
from windlass.cli.backups import entries, judging, making, parts, places
from windlass.kit import ids
from windlass.server.store import database

_STEP = 1024 * 1024
_RESTORED, _REPLACED = ".restored-", ".replaced-"


class Head(NamedTuple):
    """What a backup says of itself."""

    schema: int
    release: str
    home: str
    created_at: float
    parts: tuple[str, ...]
    in_a_bucket: bool


def occupied(home: Path) -> bool:
    """Whether there is state that a restore would replace."""
    return (home / parts.DATABASE).exists()


def chosen(source: Path) -> Path:
    """The backup that is meant: itself, or the newest in a folder of them. Raises ``NotFoundError``."""
    if source.is_dir() and not (source / places.HEAD).exists():
        found = places.backups(source)
        if not found:
            raise exception.NotFoundError(f"there is no whole backup in {source}")
        return found[-1]
    if not source.exists():
        raise exception.NotFoundError(f"there is no backup {source}")
    return source


def restore(source: Path, home: Path) -> Head:
    """Replace the state of ``home``, whose platform must not run.

    Raises:
        DataLossError: the backup is damaged or not whole.
        VersionError: a newer release made it.
    """
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    finish(home)
    for left in home.glob(f"{_RESTORED}*"):
        shutil.rmtree(left)
    draft = home / f"{_RESTORED}{ids.new('x')}"
    draft.mkdir(0o700)
    try:
        with _told(source):
            head = _unpack(source, draft)
        _check_database(draft, head)
        _exchange(home, draft, head)
    finally:
        if not paths.unfinished_restore(home).exists():
            shutil.rmtree(draft, ignore_errors=True)
    return head


# -- reading -----------------------------------------------------------------------------------------------


def _unpack(source: Path, draft: Path) -> Head:
    """Write all of it below ``draft``, and compare it with its digests."""
    members = _archived(source) if source.is_file() else _filed(source)
    digests: dict[str, str] = {}
    own: dict[str, bytes] = {}
    head: Head | None = None
    for name, file in members:
        if head is None:
            head = _head(file.read() if name == places.HEAD else b"")
        elif name.startswith(places.TREE):
            path = name.removeprefix(places.TREE)
            entries.check_path(path)
            digests[path] = _copied(file, draft / path)
        elif name in (places.FILES, places.SEAL):
            own[name] = file.read()
        else:
            raise exception.DataLossError(f"{source} holds something that no backup has: {name[:200]!r}")
    if head is None:
        raise exception.DataLossError(f"{source} is no backup")
    listed = _listed(own)
    judging.check_parts(head.parts)
    judging.check(listed, head.parts)
    _dress(listed, digests, draft)
    return head


def _archived(source: Path) -> Iterator[tuple[str, BinaryIO]]:
    with tarfile.open(source, "r|*") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                raise exception.DataLossError(f"{source} holds something that no backup has: {member.name[:200]!r}")
            yield member.name, file  # type: ignore[misc]


def _filed(source: Path) -> Iterator[tuple[str, BinaryIO]]:
    for name in (places.HEAD, places.FILES, places.SEAL):
        with contextlib.suppress(FileNotFoundError), (source / name).open("rb") as file:
            yield name, file
    tree = source / places.TREE
    waiting = [tree] if tree.is_dir() else []
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_symlink():
                raise exception.DataLossError(f"{source} holds something that no backup has: {path}")
            if path.is_dir():
                waiting.append(path)
                continue
            with path.open("rb") as file:
                yield places.TREE + str(path.relative_to(tree)), file


def _head(data: bytes) -> Head:
    try:
        said: dict[str, Any] = json.loads(data)
        head = Head(
            int(said["schema"]), str(said["release"]), str(said["home"]), float(said["created_at"]),
            tuple(said["parts"]), bool(said["in_a_bucket"]),
        )  # fmt: skip
        newer = said["format"] > making.FORMAT or head.schema > len(database.migrations())
    except (ValueError, KeyError, TypeError):
        raise exception.DataLossError("this is no backup of Windlass, or its beginning is damaged") from None
    if newer:
        raise exception.VersionError(
            f"the backup was made by a newer Windlass ({head.release})", hint="Upgrade Windlass, then restore it."
        )
    return head


def _copied(file: BinaryIO, target: Path) -> str:
    state = hashlib.sha256()
    entries.make_folders(target.parent)
    with target.open("xb") as copy:
        while piece := file.read(_STEP):
            state.update(piece)
            copy.write(piece)
    return state.hexdigest()


def _listed(own: dict[str, bytes]) -> list[entries.Entry]:
    """Every entry, once it is clear that the list is the whole one."""
    try:
        seal: dict[str, Any] = json.loads(own[places.SEAL])
        text = own[places.FILES]
        if seal["files"] != hashlib.sha256(text).hexdigest():
            raise exception.DataLossError("the list of files of the backup is damaged", hint=_HINT)
    except (KeyError, ValueError):
        raise exception.DataLossError("the backup is not whole: its end is missing", hint=_HINT) from None
    return [entries.parse(line) for line in text.decode().splitlines()]


_HINT = "Take an older backup."


def _dress(listed: list[entries.Entry], digests: dict[str, str], draft: Path) -> None:
    """Compare files, make what is no file; folders last, because what comes into them changes them."""
    for entry in listed:
        if entry.kind == entries.FILE and digests.get(entry.path) != entry.digest:
            said = "damaged" if entry.path in digests else "missing"
            raise exception.DataLossError(f"{entry.path} is {said} in the backup", hint=_HINT)
    if unnamed := digests.keys() - {entry.path for entry in listed if entry.kind == entries.FILE}:
        raise exception.DataLossError(f"the backup does not name {min(unnamed)[:200]!r}, which is in it", hint=_HINT)
    for entry in listed:
        if entry.kind == entries.SAME:
            entries.make_folders((draft / entry.path).parent)
            (draft / entry.path).hardlink_to(draft / entry.target)
        elif entry.kind != entries.FOLDER:
            entries.dress(judging.settled(entry), draft / entry.path)
    for entry in reversed(listed):
        if entry.kind == entries.FOLDER:
            entries.dress(judging.settled(entry), draft / entry.path)


def _check_database(draft: Path, head: Head) -> None:
    try:
        with contextlib.closing(sqlite3.connect(draft / parts.DATABASE)) as db:
            (said,) = db.execute("PRAGMA integrity_check").fetchone()
            (schema,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as exc:
        said, schema = str(exc), head.schema
    if said != "ok" or schema != head.schema:
        raise exception.DataLossError(f"the database in the backup is damaged: {said}", hint=_HINT)


# -- exchanging --------------------------------------------------------------------------------------------


def _exchange(home: Path, draft: Path, head: Head) -> None:
    os.sync()
    replaced = [name for name in parts.STATE if name not in head.parts or not (draft / name).exists()]
    journal = {"draft": draft.name, "moved": [n for n in head.parts if n not in replaced], "replaced": replaced}
    place = paths.unfinished_restore(home)
    fresh = place.with_suffix(".new")
    with fresh.open("w") as file:
        json.dump(journal, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(place)
    places.sync_folder(home)
    finish(home)


def finish(home: Path) -> bool:
    """Do what is left to do of a restore; False where nothing is. Each step may be repeated."""
    place = paths.unfinished_restore(home)
    try:
        journal: dict[str, Any] = json.loads(place.read_text())
    except FileNotFoundError:
        return False
    draft = home / journal["draft"]
    aside = home / journal["draft"].replace(_RESTORED, _REPLACED)
    aside.mkdir(0o700, exist_ok=True)
    for name in journal["moved"]:
        if (draft / name).exists():
            _move(home / name, aside / name)
            (draft / name).rename(home / name)
    for name in journal["replaced"]:
        _move(home / name, aside / name)
    places.sync_folder(home)
    place.unlink()
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _move(source: Path, target: Path) -> None:
    if source.exists():
        source.rename(target)


@contextlib.contextmanager
def _told(source: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, FileExistsError) as exc:
        raise exception.DataLossError(f"the backup {source} is damaged: {exc}", hint=_HINT) from exc
    except PermissionError as exc:
        raise exception.PermissionDeniedError(f"no permission for {exc.filename or source}") from exc
    except OSError as exc:
        raise exception.ResourceExhaustedError(
            f"the backup could not be restored: {exc.strerror or exc}", hint="Has the disk of the home enough room?"
        ) from exc
