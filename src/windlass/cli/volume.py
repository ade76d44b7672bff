"""`windlass volume …`."""
from __future__ import annotations

import contextlib
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from windlass import exception
from windlass.cli import ask, control, listing, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.volume import FileEntry, Volume

_TYPES = {0: "?", 1: "file", 2: "dir", 3: "link", 4: "fifo", 5: "socket"}


@click.group(name="volume", help="Volumes: folders that containers share, and that stay.")
def group() -> None:
    pass


def _volume(name: str, env: str | None) -> Volume:
    """The volume of that name, which exists."""
    from windlass import paths, volume

    control.ensure(paths.home(), worker=True)
    return volume.Volume.from_name(name, environment_name=env).hydrate()


@group.command(help="Make a volume.")
@click.argument("name", metavar="NAME")
@options.env_option
@click.option("--version", type=click.Choice(["1", "2"]), help="Accepted for compatibility; both behave alike.")
def create(name: str, env: str | None, version: str | None) -> None:
    from windlass import volume

    volume.Volume.objects.create(name, environment_name=env, version=int(version) if version else None)
    click.echo(f"Created volume {name}. Functions mount it so:\n")
    click.echo(f'    vol = windlass.Volume.from_name("{name}")\n\n    @app.function(volumes={{"/data": vol}})')


@group.command(name="list", help="All volumes of an environment.")
@options.env_option
@options.json_option
def list_volumes(env: str | None, as_json: bool) -> None:
    found = ask.request("volume.list", options.environment(env))["volumes"]
    rows = [[one["name"], listing.iso(one["created_at"]), one["created_by"]] for one in found]
    listing.show(["Name", "Created at", "Created by"], rows, as_json=as_json)


@group.command(help="Files and folders in a volume.")
@click.argument("volume_name", metavar="NAME")
@click.argument("path", default="/")
@options.json_option
@options.env_option
def ls(volume_name: str, path: str, as_json: bool, env: str | None) -> None:
    with _usage():
        entries = _volume(volume_name, env).listdir(path)
    if not as_json and not sys.stdout.isatty():
        for entry in entries:
            click.echo(_printable(entry.path))
        return
    rows = [
        [
            _printable(entry.path), _TYPES[entry.type], listing.iso(entry.mtime),
            entry.size if as_json else listing.size(entry.size),
        ]
        for entry in entries
    ]  # fmt: skip
    listing.show(["Filename", "Type", "Created/Modified", "Size"], rows, as_json=as_json)


def _printable(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="replace")


@group.command(help="Upload a file or a folder. A REMOTE that ends with a slash keeps the name.")
@click.argument("volume_name", metavar="NAME")
@click.argument("local_path", metavar="LOCAL")
@click.argument("remote_path", metavar="[REMOTE]", default="/")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there.")
@options.env_option
def put(volume_name: str, local_path: str, remote_path: str, force: bool, env: str | None) -> None:
    if any(letter in local_path for letter in "*?[") and not Path(local_path).exists():
        raise click.UsageError("Patterns are not supported: name one file or folder.")
    local = Path(local_path)
    if not local.exists():
        raise click.UsageError(f"{local_path!r} does not exist.")
    volume = _volume(volume_name, env)
    remote = remote_path + (local.resolve().name if remote_path.endswith("/") and not local.is_dir() else "")
    with _usage(), _uploading(volume, local, force) as batch:
        if local.is_dir():
            batch.put_directory(local, remote)
        else:
            batch.put_file(local, remote)
    click.echo(f"Uploaded {local_path} to {remote} of volume {volume_name}.", err=True)


@contextlib.contextmanager
def _uploading(volume: Volume, local: Path, force: bool) -> Iterator[Any]:
    """A batch that shows how far it is."""
    from windlass.cli import render
    from windlass.client import bridge, volumes

    with render.progress(f"Uploading {local}") as told:
        batch = volumes.Upload(force, told)
        yield batch
        bridge.run(batch.send(volume.object_id))


@group.command(help="Download a file or a folder; '-' as LOCAL writes to the standard output.")
@click.argument("volume_name", metavar="NAME")
@click.argument("remote_path", metavar="REMOTE")
@click.argument("local_destination", metavar="[LOCAL]", default=".")
@click.option("--force/--no-force", default=False, help="Replace files that are there.")
@options.env_option
def get(volume_name: str, remote_path: str, local_destination: str, force: bool, env: str | None) -> None:
    volume = _volume(volume_name, env)
    with _usage():
        entries = volume.listdir(remote_path, recursive=True)
    wanted = remote_path.strip("/")
    if local_destination == "-":
        _to_stdout(volume, wanted, entries)
        return
    is_file = len(entries) == 1 and entries[0].path == wanted and entries[0].type != 2
    target = Path(local_destination)
    if target.is_dir() and wanted:
        target = target / wanted.rpartition("/")[2]
    files = [(e, target if is_file else target / e.path[len(wanted) :].lstrip("/")) for e in entries]
    if not force and (there := [place for entry, place in files if entry.type != 2 and place.exists()]):
        raise click.UsageError(f"{str(there[0])!r} exists already; pass --force to replace it.")
    _download(volume, files)
    click.echo(f"Downloaded {remote_path} to {target}.", err=True)


def _to_stdout(volume: Volume, path: str, entries: list[FileEntry]) -> None:
    if len(entries) != 1 or entries[0].path != path:
        raise click.UsageError(f"{path!r} is a folder; only a file can be written to the standard output.")
    for piece in volume.read_file(path):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _download(volume: Volume, files: list[tuple[FileEntry, Path]]) -> None:
    """Each file under a name of its own first, so that one that broke off is never taken for a whole one; the same
    command with --force fetches again only what is not there with its size and time."""
    from windlass.cli import render

    with render.progress("Downloading") as told:
        for entry, place in files:
            if entry.type == 2:
                place.mkdir(parents=True, exist_ok=True)
            elif entry.type == 1:
                place.parent.mkdir(parents=True, exist_ok=True)
                if _is_there(place, entry):
                    continue
                part = place.with_name(f"{place.name}.windlass-part")
                try:
                    with part.open("wb") as file:
                        volume.read_file_into_fileobj(entry.path, file)
                    shutil.move(part, place)
                finally:
                    part.unlink(missing_ok=True)
                _set_time(place, entry.mtime)
                told(entry.path, entry.size, entry.size)


def _is_there(place: Path, entry: FileEntry) -> bool:
    try:
        state = place.stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(state.st_mode) and (state.st_size, int(state.st_mtime)) == (entry.size, entry.mtime)


def _set_time(place: Path, mtime: int) -> None:
    import os

    os.utime(place, (mtime, mtime))


@group.command(help="Copy inside a volume: SOURCE... TARGET.")
@click.argument("volume_name", metavar="NAME")
@click.argument("paths", metavar="PATHS...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Also folders.")
@options.env_option
def cp(volume_name: str, paths: tuple[str, ...], recursive: bool, env: str | None) -> None:
    if len(paths) < 2:
        raise click.UsageError("Name at least one source, and the target.")
    with _usage():
        _volume(volume_name, env).copy_files(list(paths[:-1]), paths[-1], recursive=recursive)


@group.command(help="Remove a file, or with -r a folder.")
@click.argument("volume_name", metavar="NAME")
@click.argument("remote_path", metavar="PATH")
@click.option("-r", "--recursive", is_flag=True, help="Also folders, with all in them.")
@options.env_option
def rm(volume_name: str, remote_path: str, recursive: bool, env: str | None) -> None:
    with _usage():
        _volume(volume_name, env).remove_file(remote_path, recursive=recursive)


@group.command(help="Give a volume another name.")
@click.argument("old_name", metavar="OLD")
@click.argument("new_name", metavar="NEW")
@options.yes_option
@options.env_option
def rename(old_name: str, new_name: str, yes: bool, env: str | None) -> None:
    from windlass import volume

    options.confirm(f"Rename volume {old_name} to {new_name}? Programs that name it must change.", yes=yes)
    volume.Volume.rename(old_name, new_name, environment_name=env)
    click.echo(f"Renamed volume {old_name} to {new_name}.")


@group.command(help="Delete a volume with all its versions.")
@click.argument("name", metavar="NAME")
@click.option("--allow-missing", is_flag=True, help="Do not mind if there is none.")
@options.yes_option
@options.env_option
def delete(name: str, allow_missing: bool, yes: bool, env: str | None) -> None:
    from windlass import volume

    try:
        _volume(name, env)
    except exception.NotFoundError:
        if not allow_missing:
            raise
        return
    options.confirm(f"Delete volume {name} with all its files and versions?", yes=yes)
    volume.Volume.objects.delete(name, allow_missing=allow_missing, environment_name=env)
    click.echo(f"Deleted volume {name}.")


# -- versions ----------------------------------------------------------------------------------------------


@group.command(help="Commits of a volume, newest first: each is a version that can be restored.")
@click.argument("volume_name", metavar="NAME")
@options.json_option
@options.env_option
def history(volume_name: str, as_json: bool, env: str | None) -> None:
    found = ask.request("volume.history", {"volume_id": _volume(volume_name, env).object_id})["versions"]
    rows = [
        [
            one["version"], listing.iso(one["created_at"]), one["by"], one["files"],
            one["size"] if as_json else listing.size(one["size"]),
        ]
        for one in found
    ]  # fmt: skip
    listing.show(["Version", "Committed at", "By", "Files", "Size"], rows, as_json=as_json)


@group.command(help="Let a volume be again as it was: a new version, which shows what an earlier one showed.")
@click.argument("volume_name", metavar="NAME")
@click.argument("version", type=int)
@options.yes_option
@options.env_option
def restore(volume_name: str, version: int, yes: bool, env: str | None) -> None:
    volume = _volume(volume_name, env)
    options.confirm(f"Restore version {version} of volume {volume_name}?", yes=yes)
    made = ask.request("volume.restore", {"volume_id": volume.object_id, "version": version})
    click.echo(f"Version {made['version']} of volume {volume_name} shows what version {version} showed.")


@group.command(help="Make a new volume of a version; nothing is copied.")
@click.argument("volume_name", metavar="NAME")
@click.argument("new_name", metavar="NEW")
@click.option("--version", type=int, help="Which version; the newest by default.")
@options.env_option
def fork(volume_name: str, new_name: str, version: int | None, env: str | None) -> None:
    body: dict[str, Any] = {"volume_id": _volume(volume_name, env).object_id, "name": new_name}
    if version is not None:
        body["version"] = version
    ask.request("volume.fork", {**body, **options.environment(env)})
    click.echo(f"Created volume {new_name} of volume {volume_name}.")


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """What is missing or in the way is the caller's mistake."""
    try:
        yield
    except FileExistsError as exc:
        raise click.UsageError(f"{exc} (--force replaces it)" if "--force" not in str(exc) else str(exc)) from None
    except FileNotFoundError as exc:
        raise click.ClickException(str(exc)) from None
