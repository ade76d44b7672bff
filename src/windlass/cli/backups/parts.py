"""What of a home belongs in a backup, and in which order it is found."""
from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

from windlass.cli.backups import entries

STATE = ("db", "blobs", "volumes", "nfs", "tls", "web.port", "web.tls.port", "build.env", "server.env", "remote.json")
"""Always. The database itself is put in as it is at one moment, not as it lies there."""

IMAGES = ("layers", "pythons")
"""What can be made again, from recipes that the database has, if what it was made of still is to be had."""

DATABASE = "db/windlass.sqlite3"
_CHUNK = 1024 * 1024
_LONGEST = 3840
"""Bytes of a path below the home. The kernel takes 4,096 of one, with that of the home, or of the backup, before it."""
_OWN = {"db": {"key"}}  # of these folders only these files
_NOT = {"blobs": {"incoming"}}


def found(home: Path, names: tuple[str, ...], left: list[str]) -> Iterator[tuple[entries.Entry, Path]]:
    """All below ``home`` that belongs to the parts ``names``, folders before what is in them. ``left`` is filled with
    the folders whose content has longer paths than anybody could restore: containers may nest folders as they like."""
    waiting = list(reversed(names))
    while waiting:
        path = waiting.pop()
        try:
            entry = entries.look(path, home / path)
            if entry is None:
                continue
            yield entry, home / path
            if entry.kind != entries.FOLDER:
                continue
            inside = sorted((one.name for one in (home / path).iterdir()), reverse=True)
        except FileNotFoundError:
            continue  # removed meanwhile: nothing that the database names is
        paths = [f"{path}/{name}" for name in inside if _belongs(path, name)]
        waiting += [one for one in paths if len(os.fsencode(one)) <= _LONGEST]
        if any(len(os.fsencode(one)) > _LONGEST for one in paths):
            left.append(path)


def _belongs(folder: str, name: str) -> bool:
    if "/" in folder:
        return True
    if folder in _OWN:
        return name in _OWN[folder]
    drafts = name.startswith((".new-", ".gone-", ".draft-", ".view-", ".probe-"))
    return not drafts and name not in _NOT.get(folder, ())


def is_known_lost(path: str, place: Path) -> bool:
    """Whether a file of a volume is marked as damaged, and cannot even be read: it was sealed."""
    parts = path.split("/", 3)
    if len(parts) < 4 or (parts[0], parts[2]) != ("volumes", "files"):
        return False
    inner = parts[3]
    try:
        marks = json.loads((place.parents[inner.count("/") + 1] / "damaged.json").read_text())
    except (OSError, ValueError):
        return False
    return inner in marks and not _is_readable(place)


def _is_readable(place: Path) -> bool:
    try:
        with place.open("rb", buffering=0) as file:
            while file.read(_CHUNK):
                pass
    except OSError as exc:
        return exc.errno != errno.EIO
    return True
