"""`windlass secret …`: what is stored is never printed."""
from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from windlass import exception, paths
from windlass.cli import control, listing, options


@click.group(name="secret", help="Secrets: environment variables for functions, stored encrypted.")
def group() -> None:
    pass


def _secret() -> Any:
    import windlass

    control.ensure(paths.home(), worker=False)
    return windlass.Secret


def variables_options(function: options.F) -> options.F:
    """Where variables come from; ``_variables`` reads them."""
    for option in reversed((
        click.argument("keyvalues", metavar="[KEY=VALUE]…", nargs=-1),
        click.option("--from-dotenv", type=click.Path(path_type=Path), help="Read variables from a .env file."),
        click.option("--from-json", type=click.Path(path_type=Path), help="Read variables from a JSON object."),
    )):  # fmt: skip
        function = option(function)
    return function


@group.command(help="Store a secret. KEY=- opens an editor for the value, which keeps it out of the shell's history.")
@click.argument("secret_name", metavar="NAME")
@variables_options
@click.option("--force", is_flag=True, help="Replace one of that name, with all its variables.")
@options.env_option
def create(
    secret_name: str,
    keyvalues: tuple[str, ...],
    from_dotenv: Path | None,
    from_json: Path | None,
    force: bool,
    env: str | None,
) -> None:
    variables = _variables(keyvalues, from_dotenv, from_json)
    try:
        _secret().create_deployed(secret_name, variables, environment_name=env, overwrite=force)
    except exception.AlreadyExistsError as exc:
        raise exception.AlreadyExistsError(str(exc), hint="Pass --force to replace it.") from None
    click.echo(f"Stored the secret {secret_name} with {', '.join(variables)}.\n\nUse it in a function:\n")
    named = f'modal.Secret.from_name("{secret_name}"{options.argument(env)})'
    click.echo(f"@app.function(secrets=[{named}])\ndef some_function():")
    for key in variables:
        click.echo(f'    os.environ["{key}"]')


@group.command(help="Add variables to a secret, or give some of them other values.")
@click.argument("name", metavar="NAME")
@variables_options
@options.env_option
def update(
    name: str, keyvalues: tuple[str, ...], from_dotenv: Path | None, from_json: Path | None, env: str | None
) -> None:
    variables = _variables(keyvalues, from_dotenv, from_json)
    _secret().from_name(name, environment_name=env).update(variables)
    click.echo(f"Updated {', '.join(variables)} of the secret {name}. Containers that run keep what they have.")


@group.command(name="list", help="Secrets with names, newest first.")
@options.env_option
@options.json_option
def list_secrets(env: str | None, as_json: bool) -> None:
    rows = []
    for one in _secret().objects.list(environment_name=env):
        info = one.info()
        used = None if info.last_used is None else listing.iso(info.last_used.timestamp())
        rows.append([info.name, listing.iso(info.created_at.timestamp()), info.created_by, used])
    listing.show(["Name", "Created at", "Created by", "Last used at"], rows, as_json=as_json)


@group.command(help="Delete a secret. Functions that need it start no new containers.")
@click.argument("name", metavar="NAME")
@click.option("--allow-missing", is_flag=True, help="Nothing happens where there is none of that name.")
@options.yes_option
@options.env_option
def delete(name: str, allow_missing: bool, yes: bool, env: str | None) -> None:
    try:
        _secret().from_name(name, environment_name=env).hydrate()
    except exception.NotFoundError:
        if allow_missing:
            return
        raise
    options.confirm(f"Delete the secret {name}?", yes=yes)
    _secret().objects.delete(name, allow_missing=allow_missing, environment_name=env)
    click.echo(f"Deleted secret {name}.")


def _variables(keyvalues: tuple[str, ...], from_dotenv: Path | None, from_json: Path | None) -> dict[str, str]:
    """From where they are; usage errors name the variable, never the value."""
    sources = (bool(keyvalues), from_dotenv is not None, from_json is not None)
    if not any(sources):
        raise click.UsageError("No variables: pass KEY=VALUE, --from-dotenv or --from-json.")
    if sum(sources) > 1:
        raise click.UsageError("Pass KEY=VALUE, --from-dotenv or --from-json, not several of them.")
    if keyvalues:
        found: dict[str, Any] = _given(keyvalues)
    elif from_dotenv is not None:
        found = _read(from_dotenv, _dotenv)
    elif from_json is not None:
        found = _read(from_json, _json)
    if not found:
        raise click.UsageError("There are no variables in that file.")
    for key, value in found.items():
        if not isinstance(value, str):
            raise click.UsageError(f"The value of {key!r} must be a string, not {type(value).__name__}.")
    try:
        _secret().from_dict(found)
    except exception.InvalidError as exc:
        raise click.UsageError(f"{exc}.") from None
    return found


def _given(keyvalues: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, item in enumerate(keyvalues, 1):
        key, equals, value = item.partition("=")
        if not equals or not key:  # which may be a value without its key: it is not shown
            raise click.UsageError(f"Variable {number} is not of the form KEY=VALUE.")
        found[key] = _edited(key) if value == "-" else value
    return found


def _edited(key: str) -> str:
    if not sys.stdin.isatty() and not os.environ.get("VISUAL") and not os.environ.get("EDITOR"):
        raise click.UsageError(f"There is no terminal to edit {key!r} in; pass it by --from-json or --from-dotenv.")
    text = click.edit(text="", extension=".txt")
    if text is None or not text.strip():
        raise click.UsageError(f"No value was given for {key!r} in the editor.")
    return text.rstrip("\n")


def _read(path: Path, parse: Any) -> dict[str, Any]:
    try:
        found = parse(path)
    except OSError as exc:
        raise click.UsageError(f"{str(path)!r} cannot be read: {exc.strerror}.") from None
    except json.JSONDecodeError as exc:
        raise click.UsageError(f"{str(path)!r} is no JSON: line {exc.lineno}, column {exc.colno}.") from None
    except ValueError:  # whose message may show what is in the file
        raise click.UsageError(f"{str(path)!r} cannot be read: it has another form.") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{str(path)!r} holds no JSON object.")
    return found


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8-sig"))


def _dotenv(path: Path) -> dict[str, Any]:
    try:
        import dotenv
    except ImportError:
        raise click.UsageError("--from-dotenv needs the package python-dotenv: pip install python-dotenv.") from None
    path.open("rb").close()  # a file that is not there is an error here
    return {key: value for key, value in dotenv.dotenv_values(path).items() if value is not None}
