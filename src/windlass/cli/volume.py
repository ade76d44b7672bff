"""`windlass volume …`."""
from __future__ import annotations

import json
from typing import Any

import click

from windlass import exception
from windlass.cli import ask, filing, listing, options, transfers


@click.group(name="volume", help="Volumes: folders that containers share, and that stay.")
def group() -> None:
    pass


_KIND = filing.Kind(word="volume", method="volume", listed="volumes", lost="files and versions")
filing.add(group, _KIND)
_version_option = click.option("--version", type=int, help="Which version; the newest by default.")


@group.command(help="Make a volume.")
@click.argument("name", metavar="NAME")
@options.env_option
@click.option("--version", type=click.Choice(["1", "2"]), help="Accepted for compatibility; both behave alike.")
def create(name: str, env: str | None, version: str | None) -> None:
    from windlass import volume

    volume.Volume.objects.create(name, environment_name=env, version=int(version) if version else None)
    click.echo(f"Created volume {name}. Functions mount it so:\n")
    click.echo(f'    vol = modal.Volume.from_name("{name}"{options.argument(env)})\n')
    click.echo('    @app.function(volumes={"/data": vol})')


@group.command(help="Files and folders in a volume.")
@click.argument("name", metavar="NAME")
@click.argument("path", default="/")
@_version_option
@options.json_option
@options.env_option
def ls(name: str, path: str, version: int | None, as_json: bool, env: str | None) -> None:
    from windlass.client import downloads

    identity = _KIND.identity(name, env)
    with transfers.usage():
        there = transfers.collected(lambda: downloads.entries(identity, path, recursive=False, at=version))
    transfers.show(there, as_json=as_json)


@group.command(help="Upload a file or a folder. Below a REMOTE that ends with a slash it keeps its name.")
@click.argument("volume_name", metavar="NAME")
@click.argument("local_path", metavar="LOCAL")
@click.argument("remote_path", metavar="[REMOTE]", default="/")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there.")
@options.env_option
def put(volume_name: str, local_path: str, remote_path: str, force: bool, env: str | None) -> None:
    local = transfers.local_source(local_path)
    remote = transfers.put(_KIND.identity(volume_name, env), local, remote_path, force=force)
    click.echo(f"Uploaded {local_path} to {remote} of volume {volume_name}.", err=True)


@group.command(help="Download a file or a folder. '-' as LOCAL writes to the standard output.")
@click.argument("volume_name", metavar="NAME")
@click.argument("remote_path", metavar="REMOTE")
@click.argument("local_destination", metavar="[LOCAL]", default=".")
@click.option("--force/--no-force", default=False, help="Replace files that are there.")
@_version_option
@options.env_option
def get(
    volume_name: str, remote_path: str, local_destination: str, force: bool, version: int | None, env: str | None
) -> None:
    identity = _KIND.identity(volume_name, env)
    target = transfers.get(identity, remote_path, local_destination, force=force, at=version)
    if target is not None:
        click.echo(f"Downloaded {remote_path} to {target}.", err=True)


@group.command(help="Copy files inside a volume, the last path being the target.")
@click.argument("volume_name", metavar="NAME")
@click.argument("paths", metavar="PATHS...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Also folders.")
@options.env_option
def cp(volume_name: str, paths: tuple[str, ...], recursive: bool, env: str | None) -> None:
    from windlass import volume

    if len(paths) < 2:
        raise click.UsageError("Name at least one source, and the target.")
    there = volume.Volume.from_id(_KIND.identity(volume_name, env))
    with transfers.usage():
        there.copy_files(list(paths[:-1]), paths[-1], recursive=recursive)


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


@group.command(
    help="Show or set how many bytes a volume may have. SIZE is a number of bytes (500MB, 20GB), 'none' for no limit, "
    "'default' for what the server's settings say."
)
@click.argument("volume_name", metavar="NAME")
@click.argument("size", metavar="[SIZE]", required=False)
@options.json_option
@options.env_option
def quota(volume_name: str, size: str | None, as_json: bool, env: str | None) -> None:
    body: dict[str, Any] = {"volume_id": _KIND.identity(volume_name, env)}
    if size is not None:
        body["quota"] = {"none": 0, "default": -1}.get(size, -2)
        if body["quota"] == -2:
            from windlass.cli import upkeep

            body["quota"] = upkeep.size_in_bytes(size)
    found = ask.request("volume.quota", body)
    if as_json:
        click.echo(json.dumps({"name": volume_name, **found}, indent=2))
        return
    allowed = listing.size(found["quota"]) if found["quota"] else "no limit"
    origin = "" if found["own"] else " (by the server's settings)"
    click.echo(f"Volume {volume_name} has {listing.size(found['used'])}; it may have: {allowed}{origin}.")


# -- versions ----------------------------------------------------------------------------------------------


@group.command(help="Commits of a volume, newest first. Each is a version that can be restored.")
@click.argument("volume_name", metavar="NAME")
@options.json_option
@options.env_option
def history(volume_name: str, as_json: bool, env: str | None) -> None:
    found = ask.request("volume.history", {"volume_id": _KIND.identity(volume_name, env)})["versions"]
    rows = [
        [
            one["version"], listing.iso(one["created_at"]), one["by"], one["files"],
            one["size"] if as_json else listing.size(one["size"]),
        ]
        for one in found
    ]  # fmt: skip
    listing.show(["Version", "Committed at", "By", "Files", "Size"], rows, as_json=as_json)


@group.command(help="Compare all files with what was committed. The exit code is 1 if any is damaged.")
@click.argument("volume_name", metavar="NAME")
@_version_option
@options.json_option
@options.env_option
def check(volume_name: str, version: int | None, as_json: bool, env: str | None) -> None:
    body: dict[str, Any] = {"volume_id": _KIND.identity(volume_name, env)}
    if version is not None:
        body["at"] = version
    damaged, size = [], 0
    for said in ask.stream("volume.check", body):
        size = said.get("of", size)
        if "path" in said:
            path = said["path"] if as_json else transfers.printable(said["path"])
            damaged.append([path, said["layer_id"]])
    if damaged or as_json:
        listing.show(["Damaged", "Layer"], damaged, as_json=as_json)
    if damaged:
        raise click.ClickException(
            f"{len(damaged)} of the files of volume {volume_name} are no longer what was committed. Put them again, "
            "or restore an earlier version."
        )
    if not as_json:
        click.echo(f"Volume {volume_name} is whole: {listing.size(size)} compared.")


@group.command(help="Let a volume be as it was. Makes a new version, which shows what an earlier one showed.")
@click.argument("volume_name", metavar="NAME")
@click.argument("version", type=int)
@options.yes_option
@options.env_option
def restore(volume_name: str, version: int, yes: bool, env: str | None) -> None:
    identity = _KIND.identity(volume_name, env)
    _check_version(identity, volume_name, version)
    options.confirm(f"Restore version {version} of volume {volume_name}?", yes=yes)
    made = ask.request("volume.restore", {"volume_id": identity, "version": version})
    click.echo(f"Version {made['version']} of volume {volume_name} shows what version {version} showed.")


def _check_version(identity: str, name: str, version: int) -> None:
    """Before anybody is asked whether to."""
    kept = [one["version"] for one in ask.request("volume.history", {"volume_id": identity})["versions"]]
    if version not in [0, *kept]:
        raise exception.NotFoundError(
            f"volume {name} has no version {version} (any more)",
            hint=f"It has {', '.join(map(str, kept[:10]))}{', …' if len(kept) > 10 else ''}."
            if kept
            else "Nothing was ever committed to it.",
        )


@group.command(help="Make a new volume of a version; nothing is copied.")
@click.argument("volume_name", metavar="NAME")
@click.argument("new_name", metavar="NEW")
@_version_option
@options.env_option
def fork(volume_name: str, new_name: str, version: int | None, env: str | None) -> None:
    body: dict[str, Any] = {"volume_id": _KIND.identity(volume_name, env), "name": new_name}
    if version is not None:
        body["version"] = version
    ask.request("volume.fork", {**body, **options.environment(env)})
    click.echo(f"Created volume {new_name} of volume {volume_name}.")
