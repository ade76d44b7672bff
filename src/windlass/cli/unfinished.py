"""Large files from volumes on their way here: what came of one that broke off stays, and the same command goes on.

    .<place>.<file>.<version>.windlass-part    beside the place where it shall be; two digests and a number

A version of a volume never changes, so what comes from the same one fits together, whoever writes it here. Which file
it is, is told by its volume, path, time and size: what came of another one, or before it was changed, is removed. The
disk is given every ``_SAFE`` bytes while the next come, and waited for before those after them. A download goes on
behind what it had for sure: what a power cut left of the rest is not believed.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import click

from windlass import exception
from windlass.cli import bars, listing
from windlass.kit import digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.client.downloads import Entry

LARGE = digests.LARGE
"""Bytes of a file that is worth it."""
_SAFE = 16 * 1024 * 1024
_SUFFIX = ".windlass-part"


class _Part(NamedTuple):
    path: Path
    version: int | None


async def download(identity: str, entry: Entry, place: Path, at: int | None, told: bars.Tell) -> None:
    """Have a file of a volume at ``place``, of version ``at`` if that is given."""
    begun = _begun(place, identity, entry, at)
    if begun is not None:
        try:
            return await _fetch(identity, entry, place, begun, told)
        except (exception.NotFoundError, FileNotFoundError):  # nobody has that version any more
            begun.path.unlink(missing_ok=True)
    await _fetch(identity, entry, place, _Part(place, at), told)


async def _fetch(identity: str, entry: Entry, place: Path, part: _Part, told: bars.Tell) -> None:
    """``part``: what has come; its path is ``place`` where nothing has."""
    from concurrent import futures

    from windlass.client import downloads, stepping

    path, _, _, size = entry
    done = _safe(part.path.stat().st_size) if part.path != place else 0

    def hear(_: int, version: int | None) -> None:
        nonlocal part
        if part.path == place:
            part = _Part(place.with_name(f"{_prefix(place)}{_which(identity, entry)}.{version}{_SUFFIX}"), version)
            part.path.touch()

    try:
        with contextlib.ExitStack() as stack:
            file: BinaryIO | None = None
            synced: futures.Future[None] | None = None
            pieces = downloads.pieces(identity, path, at=part.version, offset=done, told=hear)
            async with contextlib.aclosing(pieces):
                async for data in pieces:
                    if file is None:
                        file = stack.enter_context(part.path.open("r+b"))
                        file.seek(done)
                        beside = stack.enter_context(futures.ThreadPoolExecutor(1, "fsync"))  # ends before the file
                    await stepping.aside(file.write, data)
                    file.flush()
                    before, done = done, done + len(data)
                    told(path, done, max(size, done))
                    if done // _SAFE > before // _SAFE:
                        if synced is not None:
                            await stepping.aside(synced.result)
                        synced = beside.submit(os.fsync, file.fileno())
            if synced is not None:
                await stepping.aside(synced.result)
            if file is not None:
                file.truncate(done)
        part.path.replace(place)
    except BaseException as exc:
        if part.path != place and (not _safe(done) or part.version is None or isinstance(exc, OSError)):
            part.path.unlink(missing_ok=True)  # hardly anything; of no version; this disk is full
        elif part.path != place:
            click.echo(f"The same command goes on behind the first {listing.size(_safe(done))}.", err=True)
        raise


def _safe(size: int) -> int:
    """How much of a file of that size the disk had before the last of it came."""
    return max(0, size // _SAFE - 2) * _SAFE


def _begun(place: Path, identity: str, entry: Entry, at: int | None) -> _Part | None:
    """What came of this very file before; what came of others for this place is removed."""
    found = None
    for path in place.parent.glob(f"{_prefix(place)}*{_SUFFIX}"):
        which, _, version = path.name.removeprefix(_prefix(place)).removesuffix(_SUFFIX).partition(".")
        if which == _which(identity, entry) and version.isdigit() and at in (None, int(version)):
            found = _Part(path, int(version))
        else:
            path.unlink(missing_ok=True)
    return found


def _prefix(place: Path) -> str:
    return f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}."  # that name may be as long as names can be


def _which(identity: str, entry: Entry) -> str:
    path, _, mtime, size = entry
    return hashlib.sha256(os.fsencode(f"{identity} {mtime} {size} {path}")).hexdigest()[:16]
