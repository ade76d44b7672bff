"""Files between this machine and what the platform keeps: the one way of `windlass volume` and `windlass nfs`.

``identity`` is the id of a volume or a network file system.
"""
from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from windlass import exception
from windlass.cli import bars, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.client.downloads import Entry

_TYPES = {"f": "file", "d": "dir", "l": "link", "p": "fifo", "s": "socket"}


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """What is missing or in the way is the caller's mistake. Hints name the command's options, not the SDK's."""
    try:
        yield
    except FileExistsError as exc:
        said = str(exc)
        raise click.UsageError(f"{said} (--force replaces it)" if said.endswith("exists already") else said) from None
    except FileNotFoundError as exc:
        raise click.ClickException(str(exc)) from None
    except exception.InvalidError as exc:
        raise exception.InvalidError(str(exc), hint=exc.hint.replace("recursive=True", "-r")) from None


def collected(find: Callable[[], AsyncIterator[Entry]]) -> list[Entry]:
    """Entries of the listing that ``find`` begins, all of them."""
    from windlass.client import stepping

    async def collect() -> list[Entry]:
        return [entry async for entry in find()]

    return stepping.run(collect)


def show(entries: Sequence[Entry], *, as_json: bool) -> None:
    """Print a listing; only paths where nobody looks."""
    if not as_json and not sys.stdout.isatty():
        for path, *_ in entries:
            click.echo(printable(path))
        return
    rows = [
        [printable(path), _TYPES.get(kind, "?"), listing.iso(mtime), size if as_json else listing.size(size)]
        for path, kind, mtime, size in entries
    ]
    listing.show(["Filename", "Type", "Created/Modified", "Size"], rows, as_json=as_json)


def printable(path: str) -> str:
    """A path that may hold any bytes, for a terminal."""
    return path.encode(errors="surrogateescape").decode(errors="replace")


def local_source(text: str) -> Path:
    """The file or folder to upload. Raises ``UsageError``."""
    if any(letter in text for letter in "*?[") and not Path(text).exists():
        raise click.UsageError("Patterns are not supported: name one file or folder.")
    local = Path(text)
    if not local.exists():
        raise click.UsageError(f"{text!r} does not exist.")
    return local


def put(identity: str, local: Path, remote: str, *, force: bool) -> str:
    """Upload a file or a folder; the path that it has there. Below a ``remote`` that ends with a slash it keeps its
    name, whichever of the two it is."""
    from windlass.client import bridge, stepping, uploads

    remote += local.resolve().name if remote.endswith("/") else ""
    with usage(), bars.progress(f"Uploading {local}") as told:
        batch = uploads.Upload(force, told)
        if local.is_dir():
            batch.put_directory(local, remote)
            bridge.run(batch.send(identity))  # many files at once
        else:
            batch.put_file(local, remote)
            stepping.run(lambda: batch.send(identity))
    return remote


def get(identity: str, remote: str, destination: str, *, force: bool) -> Path | None:
    """Download a file or a folder; where it lies now, or None where it went to the standard output ("-")."""
    from windlass.client import downloads

    with usage():
        entries = collected(lambda: downloads.entries(identity, remote, recursive=True))
    wanted = remote.strip("/")
    if destination == "-":
        _to_stdout(identity, wanted, entries)
        return None
    is_file = len(entries) == 1 and entries[0][0] == wanted and entries[0][1] != "d"
    target = Path(destination)
    if target.is_dir() and wanted:
        target = target / wanted.rpartition("/")[2]
    files = [(e, target if is_file else target / e[0][len(wanted) :].lstrip("/")) for e in entries]
    download(identity, files, force=force)
    return target


def _to_stdout(identity: str, path: str, entries: Sequence[Entry]) -> None:
    from windlass.client import bridge, downloads

    if len(entries) != 1 or entries[0][0] != path:
        raise click.UsageError(f"{path!r} is a folder; only a file can be written to the standard output.")
    bridge.run(downloads.download(identity, path, sys.stdout.buffer, None))
    sys.stdout.buffer.flush()


def download(identity: str, files: Sequence[tuple[Entry, Path]], *, force: bool) -> None:
    """Each file under a name of its own first, so that one that broke off is never taken for a whole one; the same
    command with --force fetches again only what is not there with its size and time."""
    from windlass.client import stepping

    if not force and (there := [place for entry, place in files if entry[1] != "d" and place.exists()]):
        raise click.UsageError(f"{str(there[0])!r} exists already; pass --force to replace it.")
    with bars.progress("Downloading") as told:
        for (path, kind, mtime, size), place in files:
            if kind == "d":
                place.mkdir(parents=True, exist_ok=True)
            elif kind == "f":
                place.parent.mkdir(parents=True, exist_ok=True)
                if _is_there(place, size, mtime):
                    continue
                part = place.with_name(f"{place.name}.windlass-part")
                try:
                    stepping.run(functools.partial(_written, identity, path, part))
                    part.replace(place)
                finally:
                    part.unlink(missing_ok=True)
                os.utime(place, (mtime, mtime))
                told(path, size, size)


async def _written(identity: str, path: str, part: Path) -> None:
    from windlass.client import downloads

    with part.open("wb") as file:
        await downloads.download(identity, path, file, None)


def _is_there(place: Path, size: int, mtime: int) -> bool:
    try:
        state: Any = place.stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(state.st_mode) and (state.st_size, int(state.st_mtime)) == (size, mtime)
