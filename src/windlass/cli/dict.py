"""`windlass dict …`."""
from __future__ import annotations

import click

from windlass.cli import collections, listing, options


@click.group(name="dict", help="Dicts: dictionaries that functions and programs share.")
def group() -> None:
    pass


collections.add_common(group, "dict")


@group.command(name="list", help="Dicts with names, newest first.")
@options.json_option
@options.env_option
def list_dicts(as_json: bool, env: str | None) -> None:
    rows = []
    for one in collections.noun("dict").objects.list(environment_name=env):
        info = one.info()
        rows.append([info.name, listing.iso(info.created_at.timestamp()), info.created_by])
    listing.show(["Name", "Created at", "Created by"], rows, as_json=as_json)


@group.command(help="Print the value of a key, which is a string.")
@click.argument("name", metavar="NAME")
@click.argument("key", metavar="KEY")
@options.env_option
def get(name: str, key: str, env: str | None) -> None:
    found = collections.found("dict", name, env)
    missing = object()
    value = found.get(key, missing)
    if value is missing:
        raise click.ClickException(f"{key!r} is not in the Dict {name}. Only keys that are strings are found here.")
    click.echo(str(value))


@group.command(help="Some entries, in no particular order; N is 20 unless said.")
@click.argument("name", metavar="NAME")
@click.argument("n", metavar="N", type=click.IntRange(min=0), default=20)
@click.option("-a", "--all", "everything", is_flag=True, help="All entries.")
@click.option("-r", "--repr", "as_repr", is_flag=True, help="Keys and values as Python writes them.")
@options.json_option
@options.env_option
def items(name: str, n: int, everything: bool, as_repr: bool, as_json: bool, env: str | None) -> None:
    from windlass.client import table

    shown = repr if as_repr else str
    pages = table.scan(collections.found("dict", name, env).object_id, values=True)
    some = collections.taken(pages, None if everything else n + 1)
    rows = [[collections.readable(part, shown) for part in entry] for entry in (some if everything else some[:n])]
    if len(some) > len(rows) and not as_json:
        rows.append(["…", "…"])
    listing.show(["Key", "Value"], rows, as_json=as_json)


@group.command(help="Remove all entries of a Dict.")
@click.argument("name", metavar="NAME")
@options.yes_option
@options.env_option
def clear(name: str, yes: bool, env: str | None) -> None:
    found = collections.found("dict", name, env)
    options.confirm(f"Remove all entries of the Dict {name}?", yes=yes)
    found.clear()
    click.echo(f"Cleared dict {name}.")
