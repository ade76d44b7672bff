"""`windlass config …`: the settings that count, and some of them set."""
from __future__ import annotations

import json

import click

from windlass import exception
from windlass.config import config, keys, masked, profiles


@click.group(name="config", help="Settings of the profile that counts, with what the environment says instead.")
def group() -> None:
    pass


@group.command(help="All settings as JSON. Secrets are masked.")
@click.option("--redact/--no-redact", default=True, help="Whether secrets are masked.")
def show(redact: bool) -> None:
    values = config.to_dict()
    click.echo(json.dumps(masked(values) if redact else values, indent=2))


@group.command(name="set-environment", help="The environment that is meant where none is named.")
@click.argument("environment_name", metavar="NAME")
def set_environment(environment_name: str) -> None:
    from windlass.cli import ask

    known = [one["name"] for one in ask.request("environment.list", {})["environments"]]
    if environment_name not in known:
        raise exception.NotFoundError(
            f"no environment {environment_name[:80]!r}", hint=f"There is {', '.join(known)}." if known else ""
        )
    click.echo(f"The default environment is {environment_name} now, in {_store('environment', environment_name)}.")
    warn("environment")


@group.command(name="set", hidden=True, help="Store a setting in the profile.")
@click.argument("key")
@click.argument("value")
def store(key: str, value: str) -> None:
    if key not in keys.PUBLIC:
        raise exception.InvalidError(f"there is no setting {key[:80]!r}", hint="`windlass config show` has them all.")
    if key in keys.SECRET:
        raise exception.InvalidError(
            f"{key} would be seen in the list of processes", hint="`windlass token set` asks for secrets."
        )
    try:
        keys.PUBLIC[key][1](value)
    except ValueError as exc:
        raise exception.InvalidError(f"{key} has the wrong value {value[:80]!r}", hint=f"It must be {exc}.") from None
    click.echo(f"Stored {key} in {_store(key, value)}.")
    warn(key)


def _store(key: str, value: str) -> str:
    return str(profiles.store(profiles.current(), {key: value}, activate=False))


def warn(*names: str) -> None:
    """Say where a variable of the environment counts more than what was stored."""
    import os

    for name in names:
        for variable in (f"WINDLASS_{name.upper()}", f"MODAL_{name.upper()}"):
            if variable in os.environ and (variable.startswith("WINDLASS_") or name not in keys.CREDENTIALS):
                click.echo(f"Note: {variable} is set, and counts more.", err=True)
                break
