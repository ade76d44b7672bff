"""`windlass sandbox …`."""
from __future__ import annotations

import json
import sys
from typing import Any

import click

from windlass.cli import ask, listing, options


@click.group(name="sandbox", help="Sandboxes: list, logs, run a command, terminate.")
def group() -> None:
    pass


@group.command(name="list", help="Sandboxes that run or are about to.")
@options.env_option
@options.json_option
@click.option("--app-id", metavar="ID", help="Only those of this app.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only those with this tag.")
@click.option("--all", "everything", is_flag=True, help="Also those that have ended.")
def list_sandboxes(env: str | None, as_json: bool, app_id: str | None, tags: tuple[str, ...], everything: bool) -> None:
    query: dict[str, Any] = {"tags": dict(_pair(tag) for tag in tags), "ended": everything}
    query |= {"app_id": app_id} if app_id else options.environment(env)
    rows: list[list[Any]] = []
    while page := ask.request("sandbox.list", query)["sandboxes"]:
        rows += [_row(one, as_json=as_json) for one in page]
        query["before"] = page[-1]["sandbox_id"]
    columns = ["Sandbox ID", "App ID", "Name", "State", "Exit Code", "Tags", "Created"]
    listing.show(columns, rows, as_json=as_json)


def _row(one: Any, *, as_json: bool) -> list[Any]:
    state = one["state"]
    if one["position"]:
        state = f"queued ({one['position']})"
    elif one["why"]:
        state = f"{state} ({one['why']})"
    tags = one["tags"] if as_json else json.dumps(one["tags"]) if one["tags"] else ""
    return [one["sandbox_id"], one["app_id"], one["name"], state, one["code"], tags, listing.iso(one["created_at"])]


def _pair(tag: str) -> tuple[str, str]:
    name, found, value = tag.partition("=")
    if not found:
        raise click.BadParameter(f"{tag!r} is not KEY=VALUE.")
    return name, value


@group.command(help="What the command of a sandbox printed.")
@click.argument("sandbox_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Until it has ended.")
def logs(sandbox_id: str, follow: bool) -> None:
    options.check_id(sandbox_id, "sb", "sandbox")
    for batch in ask.stream("sandbox.output", {"sandbox_id": sandbox_id, "follow": follow}):
        for entry in batch["entries"]:
            click.echo(entry["text"], nl=False, err=entry["source"] == "stderr")


@group.command(
    name="exec",
    help="Run a command inside a sandbox. Ends with the command's exit code.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--pty/--no-pty", default=None, help="With a terminal (when stdout is one, unless said otherwise).")
@click.option("-w", "--workdir", metavar="PATH", help="The folder that it begins in.")
@click.argument("sandbox_id", metavar="ID")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
def execute(pty: bool | None, workdir: str | None, sandbox_id: str, command: tuple[str, ...]) -> None:
    from windlass.cli import attached

    options.check_id(sandbox_id, "sb", "sandbox")
    if workdir is not None and not workdir.startswith("/"):
        raise click.BadParameter(f"{workdir!r} is no absolute path.", param_hint="--workdir")
    use_pty = sys.stdout.isatty() if pty is None else pty
    words = list(command[command[0] == "--" :])
    raise SystemExit(attached.run(sandbox_id, words, pty=use_pty, workdir=workdir))


@group.command(help="End a sandbox now.")
@click.argument("sandbox_id", metavar="ID")
@options.yes_option
def terminate(sandbox_id: str, yes: bool) -> None:
    options.check_id(sandbox_id, "sb", "sandbox")
    options.confirm(f"Terminate sandbox {sandbox_id}?", yes=yes)
    ask.request("sandbox.terminate", {"sandbox_id": sandbox_id})
    click.echo(f"Terminated sandbox {sandbox_id}.")
