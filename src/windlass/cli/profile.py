"""`windlass profile …`: which set of settings counts."""
from __future__ import annotations

import click

from windlass import exception
from windlass.cli import listing, options
from windlass.config import profiles

_ASK = 5.0  # seconds for a platform to say its name


@click.group(name="profile", help="Profiles: sets of settings, one of which counts.")
def group() -> None:
    pass


@group.command(name="list", help="All profiles, with the workspaces that their tokens belong to.")
@options.json_option
def list_profiles(as_json: bool) -> None:
    where = profiles.place()
    known = profiles.tables(where.path)
    name = current_or_none()
    rows = [
        [one, _workspace(table), one == name if as_json else "*" * (one == name)] for one, table in known.items()
    ]
    listing.show(["Profile", "Workspace", "Active"], rows, as_json=as_json)
    if wanted := profiles.asked_for():
        click.echo(f"Note: the environment says which profile counts: {wanted}.", err=True)


def current_or_none() -> str | None:
    try:
        return profiles.current()
    except exception.InvalidError as exc:
        click.echo(f"Note: {exc}. {exc.hint}", err=True)
        return None


def _workspace(table: dict[str, object]) -> str:
    """What the platform says that a profile's token is for."""
    import asyncio

    from windlass.client import bridge, credentials

    token = str(table.get("token_id", "")), str(table.get("token_secret", ""))
    if not any(token):
        return "" if not table.get("server_url") else "Unknown (no token)"
    place = str(table.get("server_url", "")), token, str(table.get("server_fingerprint", ""))
    try:
        return bridge.run(asyncio.wait_for(credentials.whoami(*place), _ASK))["workspace"]
    except exception.Error as exc:
        return f"Unknown ({listing.short(str(exc), 40)})"
    except asyncio.TimeoutError:
        return "Unknown (no answer)"


@group.command(help="The name of the profile that counts.")
def current() -> None:
    click.echo(profiles.current())


@group.command(help="Let another profile count.")
@click.argument("profile", metavar="NAME")
def activate(profile: str) -> None:
    profiles.activate(profile)
    click.echo(f"The active profile is {profile} now.")
    if profiles.asked_for():
        click.echo(f"Note: the environment says which profile counts: {profiles.asked_for()}.", err=True)
