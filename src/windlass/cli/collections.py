"""What `windlass dict …` and `windlass queue …` have in common."""
from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import click

from windlass import exception, paths
from windlass.cli import control, options

T = TypeVar("T")


def noun(kind: str) -> Any:
    """The class of the SDK, once the platform is there to ask."""
    import windlass

    control.ensure(paths.home(), worker=False)
    return windlass.Dict if kind == "dict" else windlass.Queue


def found(kind: str, name: str, env: str | None) -> Any:
    """A handle of one that exists. Raises ``NotFoundError``."""
    return noun(kind).from_name(name, environment_name=env).hydrate()


def taken(pages: AsyncGenerator[list[T], None], most: int | None) -> list[T]:
    """The first of what comes in pages, or all of it."""
    from windlass.client import bridge

    async def take() -> list[T]:
        found: list[T] = []
        async with contextlib.aclosing(pages):
            async for page in pages:
                found += page
                if most is not None and len(found) >= most:
                    break
        return found[:most]

    return bridge.run(take())


def readable(data: Any, form: Callable[[Any], str] = str) -> str:
    """A pickled value as text; where it cannot be read here, why: one odd value must not hide the others."""
    from windlass.client import unpickle

    try:
        return form(unpickle.loads(data, "value"))
    except exception.DeserializationError as exc:
        return f"<{exc}>"


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
