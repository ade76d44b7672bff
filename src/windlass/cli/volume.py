"""`windlass volume …`."""
from __future__ import annotations

from typing import Any

import click

from windlass import exception
from windlass.cli import ask, control, listing, options, transfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.volume import Volume


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
    click.echo(f'    vol = modal.Volume.from_name("{name}")\n\n    @app.function(volumes={{"/data": vol}})')


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
    from windlass.client import volumes

    with transfers.usage():
        entries = transfers.collected(volumes.entries(_volume(volume_name, env).object_id, path, recursive=False))
    transfers.show(entries, as_json=as_json)


@group.command(help="Upload a file or a folder. Below a REMOTE that ends with a slash it keeps its name.")
@click.argument("volume_name", metavar="NAME")
@click.argument("local_path", metavar="LOCAL")
@click.argument("remote_path", metavar="[REMOTE]", default="/")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there.")
@options.env_option
def put(volume_name: str, local_path: str, remote_path: str, force: bool, env: str | None) -> None:
    local = transfers.local_source(local_path)
    remote = transfers.put(_volume(volume_name, env).object_id, local, remote_path, force=force)
    click.echo(f"Uploaded {local_path} to {remote} of volume {volume_name}.", err=True)


@group.command(help="Download a file or a folder. '-' as LOCAL writes to the standard output.")
@click.argument("volume_name", metavar="NAME")
@click.argument("remote_path", metavar="REMOTE")
@click.argument("local_destination", metavar="[LOCAL]", default=".")
@click.option("--force/--no-force", default=False, help="Replace files that are there.")
@options.env_option
def get(volume_name: str, remote_path: str, local_destination: str, force: bool, env: str | None) -> None:
    target = transfers.get(_volume(volume_name, env).object_id, remote_path, local_destination, force=force)
    if target is not None:
        click.echo(f"Downloaded {remote_path} to {target}.", err=True)


@group.command(help="Copy files inside a volume, the last path being the target.")
@click.argument("volume_name", metavar="NAME")
@click.argument("paths", metavar="PATHS...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Also folders.")
@options.env_option
def cp(volume_name: str, paths: tuple[str, ...], recursive: bool, env: str | None) -> None:
    if len(paths) < 2:
        raise click.UsageError("Name at least one source, and the target.")
    with transfers.usage():
        _volume(volume_name, env).copy_files(list(paths[:-1]), paths[-1], recursive=recursive)


@group.command(help="Remove a file, or with -r a folder.")
@click.argument("volume_name", metavar="NAME")
@click.argument("remote_path", metavar="PATH")
@click.option("-r", "--recursive", is_flag=True, help="Also folders, with all in them.")
@options.env_option
def rm(volume_name: str, remote_path: str, recursive: bool, env: str | None) -> None:
    with transfers.usage():
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


@group.command(help="Commits of a volume, newest first. Each is a version that can be restored.")
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


@group.command(help="Let a volume be as it was. Makes a new version, which shows what an earlier one showed.")
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
