"""Commands that `windlass volume` and `windlass nfs` share: both name something that holds files."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from windlass import exception
from windlass.cli import ask, control, listing, options, transfers

if TYPE_CHECKING:
    from windlass.wire.messages import volumes as messages


class Kind(NamedTuple):
    """``word``: what people call it. ``method``: how the server's methods begin. ``listed``: the field of its list.
    ``lost``: what is deleted with it."""

    word: str
    method: str
    listed: str
    lost: str

    def identity(self, name: str, env: str | None) -> str:
        """The id of the one of that name, which exists; a worker is there for its files."""
        from windlass import paths

        control.ensure(paths.home(), worker=True)
        return str(ask.request(f"{self.method}.get", {"name": name, **options.environment(env)})["volume_id"])


def add(group: click.Group, kind: Kind) -> None:
    """Add ``list``, ``rm`` and ``delete``."""

    @group.command(name="list", help=f"All {kind.word}s of an environment.")
    @options.env_option
    @options.json_option
    def _(env: str | None, as_json: bool) -> None:
        found = ask.request(f"{kind.method}.list", options.environment(env))[kind.listed]
        rows = [[one["name"], listing.iso(one["created_at"]), one["created_by"]] for one in found]
        listing.show(["Name", "Created at", "Created by"], rows, as_json=as_json)

    @group.command(name="rm", help="Remove a file, or with -r a folder.")
    @click.argument("name", metavar="NAME")
    @click.argument("remote_path", metavar="PATH")
    @click.option("-r", "--recursive", is_flag=True, help="Also folders, with all in them.")
    @options.env_option
    def _(name: str, remote_path: str, recursive: bool, env: str | None) -> None:
        from windlass.client import stepping, volumes
        from windlass.kit import ids

        identity, edit_id = kind.identity(name, env), ids.new("ed")
        with transfers.usage():
            step: messages.EditStep = {"op": "remove", "path": remote_path, "recursive": recursive}
            stepping.run(lambda: volumes.edit(identity, [step], edit_id))

    @group.command(name="delete", help=f"Delete a {kind.word} with all its {kind.lost}.")
    @click.argument("name", metavar="NAME")
    @click.option("--allow-missing", is_flag=True, help="Do not mind if there is none.")
    @options.yes_option
    @options.env_option
    def _(name: str, allow_missing: bool, yes: bool, env: str | None) -> None:
        try:
            identity = kind.identity(name, env)
        except exception.NotFoundError:
            if not allow_missing:
                raise
            return
        options.confirm(f"Delete {kind.word} {name} with all its {kind.lost}?", yes=yes)
        ask.request(f"{kind.method}.delete", {"volume_id": identity})
        click.echo(f"Deleted {kind.word} {name}.")
