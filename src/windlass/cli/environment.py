"""`windlass environment …`."""
from __future__ import annotations

from typing import Any

import click

from windlass.cli import ask, listing, options


@click.group(name="environment", help="Environments: parts of the workspace with apps and names of their own.")
def group() -> None:
    pass


@group.command(help="Make an environment.")
@click.argument("name", metavar="NAME")
def create(name: str) -> None:
    from windlass.client import names

    names.check_environment(name)
    ask.request("environment.create", {"name": name})
    click.echo(f"Created environment {name}.")


@group.command(name="list", help="All environments. The one that is meant where none is named has a star.")
@options.json_option
def list_environments(as_json: bool) -> None:
    known = ask.request("environment.list", {})["environments"]
    current = _current(known)
    rows = [
        [
            one["name"], one["web_suffix"], one["apps"] if as_json else str(one["apps"]),
            listing.iso(one["created_at"]), one["name"] == current if as_json else "*" * (one["name"] == current),
        ]
        for one in known
    ]  # fmt: skip
    listing.show(["Name", "Web suffix", "Apps", "Created at", "Active"], rows, as_json=as_json)


def _current(known: list[Any]) -> str:
    from windlass import config

    chosen: str = config.config["environment"]
    return chosen or next((one["name"] for one in known if one["default"]), "")


@group.command(help="Rename an environment, or change its suffix in web addresses.")
@click.argument("current_name", metavar="NAME")
@click.option("--set-name", metavar="NAME", help="Its new name.")
@click.option("--set-web-suffix", metavar="SUFFIX", help="Its new suffix; may be empty.")
def update(current_name: str, set_name: str | None, set_web_suffix: str | None) -> None:
    body: dict[str, str] = {"name": current_name}
    if set_name is None and set_web_suffix is None:
        raise click.UsageError("Nothing to update: pass --set-name or --set-web-suffix.")
    if set_name is not None:
        from windlass.client import names

        names.check_environment(set_name)
        body["set_name"] = set_name
    if set_web_suffix is not None:
        body["set_web_suffix"] = set_web_suffix
    info = ask.request("environment.update", body)
    click.echo(f"Environment {current_name} is updated: name {info['name']}, web suffix {info['web_suffix']!r}.")


@group.command(help="Delete an environment with all apps and names in it.")
@click.argument("name", metavar="NAME")
@click.option("--confirm/--no-confirm", "confirmed", default=False, hidden=True, help="Older word for --yes.")
@options.yes_option
def delete(name: str, confirmed: bool, yes: bool) -> None:
    known = {one["name"]: one for one in ask.request("environment.list", {})["environments"]}
    apps = known[name]["apps"] if name in known else 0
    question = f"Delete environment {name}, stop its {apps} app{'' if apps == 1 else 's'}, and forget all in it?"
    if name in known:
        options.confirm(question, yes=yes or confirmed)
    ask.request("environment.delete", {"name": name})
    click.echo(f"Deleted environment {name}.")
