"""`windlass app history`, `rollback`, `rollover` and `info`."""
from __future__ import annotations

import json
import re
from typing import Any

import click

from windlass.cli import ask, listing, options


@click.command(help="Versions of a deployed app, newest first. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@options.json_option
def history(app_identifier: str, env: str | None, as_json: bool) -> None:
    app = ask.find_app(app_identifier, env)
    versions = ask.request("app.history", {"app_id": app["app_id"]})["versions"]
    columns = ["Version", "Time deployed", "Client", "Deployed by", "Commit"]
    rows = [
        [
            f"v{one['version']}", listing.iso(one["deployed_at"]), one["facts"].get("client", ""),
            one["facts"].get("by", ""), _commit(one["facts"].get("commit")),
        ]
        for one in versions
    ]  # fmt: skip
    if any(one["facts"].get("tag") for one in versions):
        columns.append("Tag")
        rows = [[*row, one["facts"].get("tag", "")] for row, one in zip(rows, versions, strict=True)]
    listing.show(columns, rows, as_json=as_json)


def _commit(commit: Any) -> str:
    return f"{commit['hash'][:7]}{'*' if commit['dirty'] else ''}" if commit else ""


def _number(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Of ``v3``, or ``3``."""
    if value is None:
        return None
    match = re.fullmatch(r"v?([1-9][0-9]{0,8})", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no version; they look like v3.")
    return int(match[1])


@click.command(help="Publish an old version again, as a new one. Without VERSION the one before.")
@click.argument("app_identifier", metavar="APP")
@click.argument("version", metavar="[VERSION]", required=False, callback=_number)
@options.env_option
@options.strategy_option
def rollback(app_identifier: str, version: int | None, env: str | None, strategy: str) -> None:
    app = ask.find_app(app_identifier, env)
    reply = _return({"app_id": app["app_id"], "version": version, "strategy": strategy})
    back = version or app["version"] - 1
    click.echo(f"App {app['name']} runs version {back} again, published as version {reply['version']}.")
    _wait(app["app_id"], reply)


@click.command(help="Start new containers of a deployed app, with the same code.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@options.strategy_option
def rollover(app_identifier: str, env: str | None, strategy: str) -> None:
    app = ask.find_app(app_identifier, env)
    reply = _return({"app_id": app["app_id"], "rollover": True, "strategy": strategy})
    click.echo(f"App {app['name']} gets new containers, published as version {reply['version']}.")
    _wait(app["app_id"], reply)


def _return(body: dict[str, Any]) -> Any:
    from windlass.client import deploy
    from windlass.kit import ids

    return ask.request("app.return", {**body, "deploy_id": ids.new("de"), "facts": deploy.facts()})


def _wait(app_id: str, reply: Any) -> None:
    """With "recreate" it is over when the old containers are."""
    from windlass.client import bridge, deploy, output, session

    async def wait() -> list[str]:
        return await deploy.stopped(session.current(), app_id, reply["leaving"], output.current())

    left = bridge.run(wait()) if reply["leaving"] else []
    if left:
        raise click.ClickException(f"These containers have not stopped in time: {', '.join(left)}.")


@click.command(help="What an app is. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@options.json_option
def info(app_identifier: str, env: str | None, as_json: bool) -> None:
    app = ask.find_app(app_identifier, env)
    facts = {
        "app_id": app["app_id"],
        "name": app["name"],
        "description": app["description"],
        "environment": app["environment"],
        "state": app["state"],
        "version": app["version"] or None,
        "created_at": listing.iso(app["created_at"]),
        "stopped_at": listing.iso(app["stopped_at"]),
        "containers": app["containers"],
        "tags": app["tags"],
        "functions": app["functions"],
        "web_urls": ask.web_urls(app),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    functions, tags, urls = facts.pop("functions"), facts.pop("tags"), facts.pop("web_urls")
    for key, value in facts.items():
        if value is not None:
            click.echo(f"{key.replace('_', ' ').capitalize() + ':':<13}{value}")
    if tags:
        click.echo(f"{'Tags:':<13}{', '.join(f'{key}={value}' for key, value in tags.items())}")
    for tag, identity in functions.items():
        click.echo(f"{'Function:':<13}{tag} ({identity})")
    for tag, url in urls.items():
        click.echo(f"{'Web URL:':<13}{tag} => {url}")
