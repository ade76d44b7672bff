"""Files between this machine and what the platform keeps: the one way of `windlass volume` and `windlass nfs`.

``identity`` is the id of a volume or a network file system.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import click

from windlass import exception
from windlass.cli import bars, listing, unfinished
from windlass.kit import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.client.downloads import Entry

_AT_ONCE = 8  # files that are fetched at the same time
_SMALL = 256 * 1024  # bytes of files that are fetched many at once
_TOGETHER = 500
_GATHERS = 2  # such questions at the same time
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
            click.echo(path.encode(errors="surrogateescape"))  # whoever reads it may want to name the file
        return
    rows = [
        [
            path if as_json else printable(path), _TYPES.get(kind, "?"), listing.iso(mtime),
            size if as_json else listing.size(size),
        ]
        for path, kind, mtime, size in entries
    ]  # fmt: skip
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
    from windlass.client import bridge, stepping, uploads, volumes

    remote += Path(os.path.abspath(local)).name if remote.endswith("/") else ""  # noqa: PTH100 - keep a link's name
    if not local.is_dir() and not volumes.inside(remote):
        raise click.UsageError(f"{remote!r} is no name for a file: end it with a slash to put {str(local)!r} below it.")
    with usage(), bars.progress(f"Uploading {local}") as told:
        batch = uploads.Upload(force, told)
        if local.is_dir():
            batch.put_directory(local, remote)
            bridge.run(batch.send(identity))  # many files at once
        else:
            batch.put_file(local, remote)
            stepping.run(lambda: batch.send(identity))
    return remote


def get(identity: str, remote: str, destination: str, *, force: bool, at: int | None = None) -> Path | None:
    """Download a file or a folder, of the volume's version ``at`` if that is given; where it lies now, or None where it
    went to the standard output ("-")."""
    from windlass.client import downloads, volumes

    wanted = volumes.inside(remote)
    with usage():
        entries = collected(lambda: downloads.entries(identity, wanted, recursive=True, at=at))
    is_file = len(entries) == 1 and entries[0][0] == wanted and entries[0][1] != "d"
    if destination == "-":
        if not is_file:
            raise click.UsageError(f"{remote!r} is a folder; only a file can be written to the standard output.")
        _to_stdout(identity, wanted, at)
        return None
    target = Path(destination)
    if wanted and (target.is_dir() or destination.endswith(("/", os.sep))):
        target = target / wanted.rpartition("/")[2]
    files = [(e, target if is_file else target / e[0][len(wanted) :].lstrip("/")) for e in entries]
    download(identity, files, force=force, at=at)
    return target


def _to_stdout(identity: str, path: str, at: int | None) -> None:
    from windlass.client import bridge, downloads

    try:
        bridge.run(downloads.download(identity, path, sys.stdout.buffer, None, at=at))
        sys.stdout.buffer.flush()
    except (BrokenPipeError, FileNotFoundError):  # nobody reads on; there is no such file in the volume
        raise
    except OSError as exc:
        raise exception.ExecutionError(f"cannot write to the standard output: {exc.strerror or exc}") from exc


def download(identity: str, files: Sequence[tuple[Entry, Path]], *, force: bool, at: int | None = None) -> None:
    """Each file under a name of its own first, so that one that broke off is never taken for a whole one; the same
    command with --force fetches again only what is not there with its size and time. Links become what they lead to:
    whoever wrote to the volume shall not say where files of this machine lie."""
    from windlass.client import bridge, stepping

    _check_places(files, force=force)
    for entry, place in files:
        if entry[1] == "d":
            place.mkdir(parents=True, exist_ok=True)
    with usage(), bars.progress("Downloading") as told:
        fetch = functools.partial(_fetched, identity, files, at, told)
        left_out = stepping.run(fetch) if len(files) == 1 else bridge.run(fetch())
    if left_out:
        shown = ", ".join(map(printable, sorted(left_out)))
        click.echo(f"Left out what is neither a file nor a folder: {shown}.", err=True)


async def _fetched(
    identity: str, files: Sequence[tuple[Entry, Path]], at: int | None, told: Callable[[str, int, int], None]
) -> list[str]:
    """Some files at a time, because each small one is mostly waited for. Paths of what is none."""
    from windlass.client import stepping

    there = await _gathered(identity, files, at, told) if len(files) > 1 else set[Path]()
    left, left_out = iter(files), list[str]()

    async def fetch_some() -> None:
        for (path, kind, mtime, size), place in left:
            if place in there:
                continue
            if kind == "l":
                try:
                    await _fetch(identity, path, place, at)
                except (FileNotFoundError, exception.InvalidError):  # it leads nowhere, or to a folder
                    left_out.append(path)
            elif kind == "f" and not _is_there(place, size, mtime):
                if size >= unfinished.LARGE and ids.is_id(identity, "vo"):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    await unfinished.download(identity, (path, kind, mtime, size), place, at, told)
                else:
                    await _fetch(identity, path, place, at)
                os.utime(place, (mtime, mtime))
                told(path, size, size)
            elif kind not in "df":
                left_out.append(path)

    async def until_one_fails() -> None:
        try:
            await fetch_some()
        except BaseException:
            for _ in left:  # where one fails, no other is begun
                pass
            raise

    async with stepping.crew() as owner:
        for running in [owner.start(until_one_fails(), "download") for _ in range(min(_AT_ONCE, len(files)))]:
            await running
    return left_out


def _check_places(files: Sequence[tuple[Entry, Path]], *, force: bool) -> None:
    """Before anything is fetched."""
    for entry, place in files:
        if entry[1] == "d":
            if os.path.lexists(place) and not place.is_dir():
                raise click.UsageError(f"{str(place)!r} is in the way of a folder.")
        elif place.is_dir():
            raise click.UsageError(f"{str(place)!r} is a folder, which no file can replace.")
        elif not force and os.path.lexists(place):
            raise click.UsageError(f"{str(place)!r} exists already; pass --force to replace it.")


async def _gathered(
    identity: str, files: Sequence[tuple[Entry, Path]], at: int | None, told: Callable[[str, int, int], None]
) -> set[Path]:
    """Fetch small files, and what links lead to, many with one question; where those are that came."""
    from windlass.client import downloads, stepping

    came = set[Path]()
    wanted = [one for one in files if _is_small(*one)]
    parts = iter([wanted[n : n + _TOGETHER] for n in range(0, len(wanted), _TOGETHER)])

    async def gather_some() -> None:
        for part in parts:
            paths = [path for (path, *_), _ in part]
            async for found in downloads.gathered(identity, paths, most=_SMALL, at=at):
                await stepping.aside(_write, [(part[number], data) for number, data in found])
                for number, data in found:
                    came.add(part[number][1])
                    told(paths[number], len(data), len(data))

    async with stepping.crew() as owner:
        for running in [owner.start(gather_some(), "download") for _ in range(min(_GATHERS, len(wanted)))]:
            await running
    return came


def _is_small(entry: Entry, place: Path) -> bool:
    _, kind, mtime, size = entry
    return kind == "l" or (kind == "f" and size <= _SMALL and not _is_there(place, size, mtime))


def _write(files: Sequence[tuple[tuple[Entry, Path], bytes]]) -> None:
    for ((_, kind, mtime, _), place), data in files:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _whole(place) as part:
            part.write_bytes(data)
        if kind == "f":  # the time of a link is not that of what it leads to
            os.utime(place, (mtime, mtime))


async def _fetch(identity: str, path: str, place: Path, at: int | None) -> None:
    from windlass.client import downloads

    place.parent.mkdir(parents=True, exist_ok=True)
    with _whole(place) as part:
        with part.open("wb") as file:
            await downloads.download(identity, path, file, None, at=at)


@contextlib.contextmanager
def _whole(place: Path) -> Iterator[Path]:
    """Another name, which becomes ``place`` when the block ends well."""
    digest = hashlib.sha256(os.fsencode(place.name)).hexdigest()  # that name may be as long as names can be
    part = place.with_name(f".{digest[:16]}.windlass-part")
    try:
        yield part
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _is_there(place: Path, size: int, mtime: int) -> bool:
    try:
        state = place.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(state.st_mode) and (state.st_size, int(state.st_mtime)) == (size, mtime)
