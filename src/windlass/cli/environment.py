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
@click.option("--restricted", is_flag=True, help="Closed to members without a role of their own there.")
@click.option("--default-role", type=click.Choice(["viewer", "no-access"]), help="Theirs, where it is restricted.")
def create(name: str, restricted: bool, default_role: str | None) -> None:
    from windlass.client import names

    if default_role and not restricted:
        raise click.UsageError("--default-role is for --restricted environments; in others members are contributors.")
    names.check_environment(name)
    body = {"name": name, "default_role": default_role or "no-access"} if restricted else {"name": name}
    ask.request("environment.create", body)
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


@group.command(help="Change an environment's name, web suffix or builder version.")
@click.argument("current_name", metavar="NAME")
@click.option("--set-name", metavar="NAME", help="Its new name.")
@click.option("--set-web-suffix", metavar="SUFFIX", help="Its new suffix; may be empty.")
@click.option("--set-image-builder-version", metavar="VERSION", help="Whose layers images use; empty: the platform's.")
def update(
    current_name: str, set_name: str | None, set_web_suffix: str | None, set_image_builder_version: str | None
) -> None:
    body: dict[str, str] = {"name": current_name}
    if set_name is None and set_web_suffix is None and set_image_builder_version is None:
        raise click.UsageError(
            "Nothing to update: pass --set-name, --set-web-suffix or --set-image-builder-version."
        )
    if set_name is not None:
        from windlass.client import names

        names.check_environment(set_name)
        body["set_name"] = set_name
    if set_web_suffix is not None:
        body["set_web_suffix"] = set_web_suffix
    if set_image_builder_version is not None:
        body["set_image_builder_version"] = set_image_builder_version
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


@group.group(name="roles", help="Who may do what in an environment.")
def roles() -> None:
    pass


@roles.command(name="list", help="What each member is there; whose role is their own has a star.")
@click.argument("name", metavar="NAME")
@options.json_option
def list_roles(name: str, as_json: bool) -> None:
    found = ask.request("environment.roles", {"name": name})
    rows = [
        [member, role, member in found["roles"] if as_json else "*" * (member in found["roles"])]
        for member, role in found["effective"].items()
    ]
    listing.show(["Member", "Role", "Own"], rows, as_json=as_json)
    if not as_json:
        click.echo(f"Without a role of their own: {found['default_role']}.")


@roles.command(name="update", help="Give a member a role, or all without one of their own.")
@click.argument("name", metavar="NAME")
@click.argument("member", metavar="[MEMBER]", default="")
@click.option("--role", required=True, type=click.Choice(["contributor", "viewer", "no-access", "default"]))
def update_role(name: str, member: str, role: str) -> None:
    if role == "default" and not member:
        raise click.UsageError("'default' takes a member's own role away; name the member.")
    body = {"name": name, "role": "" if role == "default" else role, **({"member": member} if member else {})}
    ask.request("environment.set_role", body)
    click.echo(f"{member or 'Members without a role of their own'}: {role} in environment {name}.")
