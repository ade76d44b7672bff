"""What `windlass dict …` and `windlass queue …` have in common."""
from __future__ import annotations

from typing import Any

import click

from windlass import exception, paths
from windlass.cli import control, options


def noun(kind: str) -> Any:
    """The class of the SDK, once the platform is there to ask."""
    import windlass

    control.ensure(paths.home(), worker=False)
    return windlass.Dict if kind == "dict" else windlass.Queue


def found(kind: str, name: str, env: str | None) -> Any:
    """A handle of one that exists. Raises ``NotFoundError``."""
    return noun(kind).from_name(name, environment_name=env).hydrate()


def add_common(group: click.Group, kind: str) -> None:
    """Add `create` and `delete`."""
    title = kind.capitalize()

    @group.command(help=f"Make a {title}; nothing happens where there is one of that name.")
    @click.argument("name", metavar="NAME")
    @options.env_option
    def create(name: str, env: str | None) -> None:
        noun(kind).objects.create(name, allow_existing=True, environment_name=env)

    @group.command(help=f"Delete a {title} with all that is in it.")
    @click.argument("name", metavar="NAME")
    @click.option("--allow-missing", is_flag=True, help="Nothing happens where there is none of that name.")
    @options.yes_option
    @options.env_option
    def delete(name: str, allow_missing: bool, yes: bool, env: str | None) -> None:
        try:
            found(kind, name, env)
        except exception.NotFoundError:
            if allow_missing:
                return
            raise
        options.confirm(f"Delete the {title} {name} with all that is in it?", yes=yes)
        noun(kind).objects.delete(name, allow_missing=allow_missing, environment_name=env)
        click.echo(f"Deleted {kind} {name}.")
