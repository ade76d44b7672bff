"""`windlass nfs …`."""
from __future__ import annotations

from pathlib import Path

import click

from windlass.cli import ask, filing, options, transfers


@click.group(name="nfs", help="Network file systems: folders that running containers share. Deprecated: use volumes.")
def group() -> None:
    pass


_KIND = filing.Kind(word="network file system", method="nfs", listed="file_systems", lost="files")
filing.add(group, _KIND)


@group.command(help="Make a network file system.")
@click.argument("name", metavar="NAME")
@options.env_option
def create(name: str, env: str | None) -> None:
    ask.request("nfs.get", {"name": name, "create": "new", **options.environment(env)})
    click.echo(f"Created network file system {name}. Functions mount it so:\n")
    click.echo(
        f'    shared = modal.NetworkFileSystem.from_name("{name}"{options.argument(env)})\n\n'
        '    @app.function(network_file_systems={"/shared": shared})'
    )


@group.command(help="Files and folders; PATH may be a glob.")
@click.argument("name", metavar="NAME")
@click.argument("path", default="/")
@options.json_option
@options.env_option
def ls(name: str, path: str, as_json: bool, env: str | None) -> None:
    from windlass.client import downloads

    identity = _KIND.identity(name, env)
    with transfers.usage():
        there = transfers.collected(lambda: downloads.matching(identity, path))
    transfers.show(there, as_json=as_json)


@group.command(help="Upload a file or a folder. Below a REMOTE that ends with a slash it keeps its name.")
@click.argument("name", metavar="NAME")
@click.argument("local_path", metavar="LOCAL")
@click.argument("remote_path", metavar="[REMOTE]", default="/")
@options.env_option
def put(name: str, local_path: str, remote_path: str, env: str | None) -> None:
    local = transfers.local_source(local_path)
    remote = transfers.put(_KIND.identity(name, env), local, remote_path, force=True)
    click.echo(f"Uploaded {local_path} to {remote} of network file system {name}.", err=True)


@group.command(help="Download a file, a folder, or what a glob matches. '-' as LOCAL writes to the standard output.")
@click.argument("name", metavar="NAME")
@click.argument("remote_path", metavar="REMOTE")
@click.argument("local_destination", metavar="[LOCAL]", default=".")
@click.option("--force/--no-force", default=False, help="Replace files that are there.")
@options.env_option
def get(name: str, remote_path: str, local_destination: str, force: bool, env: str | None) -> None:
    from windlass.client import downloads, globs, volumes

    identity = _KIND.identity(name, env)
    if not globs.is_glob(remote_path):
        target = transfers.get(identity, remote_path, local_destination, force=force)
    elif local_destination == "-":
        raise click.UsageError("Only a file can be written to the standard output, not what a glob matches.")
    else:
        with transfers.usage():
            found = transfers.collected(lambda: downloads.matching(identity, remote_path))
        if not found:
            raise click.ClickException(f"nothing matches {remote_path!r}")
        target = Path(local_destination)
        head = globs.search(volumes.inside(remote_path)).folder
        files = [(entry, target / entry[0][len(head) :].lstrip("/")) for entry in found]
        transfers.download(identity, files, force=force)
    if target is not None:
        click.echo(f"Downloaded {remote_path} to {target}.", err=True)
