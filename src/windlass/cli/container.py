"""`windlass container …`."""
from __future__ import annotations

import sys
from typing import Any

import click

from windlass import exception
from windlass.cli import ask, listing, options
from windlass.kit import ids


@click.group(name="container", help="Containers: list, logs, run a command, stop.")
def group() -> None:
    pass


@group.command(name="list", help="Containers that run or are about to.")
@options.env_option
@options.json_option
@click.option("--app-id", metavar="ID", help="Only those of this app.")
def list_containers(env: str | None, as_json: bool, app_id: str | None) -> None:
    containers = ask.request("container.list", {"app_id": app_id} if app_id else {})["containers"]
    containers.sort(key=lambda one: one["started_at"] or float("inf"), reverse=True)
    rows = [
        [one["container_id"], one["app_id"], one["app_name"], listing.iso(one["started_at"]) or "Pending"]
        for one in containers
    ]
    listing.show(["Container ID", "App ID", "App Name", "Start Time"], rows, as_json=as_json)


@group.command(help="Output of one container, or of a sandbox.")
@click.argument("container_id", metavar="ID")
@options.env_option
@options.log_options
@click.option("--all", "everything", is_flag=True, help="From its beginning.")
def logs(container_id: str, env: str | None, everything: bool, **chosen: Any) -> None:
    if ids.is_id(container_id, "sb"):
        container_id = _of_sandbox(container_id)
    options.check_id(container_id, "ta", "container")
    if everything and (
        chosen["tail"] is not None or any(chosen[name] for name in ("follow", "since", "until"))
    ):
        raise click.UsageError("--all cannot be combined with --follow, --since, --until or --tail.")
    query = options.log_query(chosen, everything=everything)
    ask.print_logs({**query, "container_id": container_id}, timestamps=chosen["timestamps"])


def _of_sandbox(identity: str) -> str:
    """The container of a sandbox."""
    found: str = ask.request("sandbox.get", {"sandbox_id": identity})["container_id"]
    if not found:
        raise exception.NotFoundError(f"{identity} has no container yet", hint="It waits for room, or never had any.")
    return found


@group.command(
    name="exec",
    help="Run a command inside a container; ends with the command's exit code.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--pty/--no-pty", default=None, help="With a terminal (when stdout is one, unless said otherwise).")
@click.argument("container_id", metavar="ID")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
def execute(pty: bool | None, container_id: str, command: tuple[str, ...]) -> None:
    from windlass.cli import exec as remote

    use_pty = sys.stdout.isatty() if pty is None else pty
    words = list(command[command[0] == "--" :])
    if ids.is_id(container_id, "sb"):
        from windlass.cli import attached

        raise SystemExit(attached.run(container_id, words, pty=use_pty))
    options.check_id(container_id, "ta", "container")
    raise SystemExit(remote.run(container_id, words, pty=use_pty))


@group.command(help="Stop a container. What it runs is run again elsewhere; with --graceful it is finished first.")
@click.argument("container_id", metavar="ID")
@click.option("--graceful", is_flag=True, help="Let it finish what it runs.")
@options.yes_option
def stop(container_id: str, graceful: bool, yes: bool) -> None:
    options.check_id(container_id, "ta", "container")
    options.confirm(f"Stop container {container_id}?", yes=yes)
    ask.request("container.stop", {"container_id": container_id, "graceful": graceful})
    click.echo(f"Stopping container {container_id}.")
