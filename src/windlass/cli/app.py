"""`windlass app …`."""
from __future__ import annotations

from typing import Any

import click

from windlass.cli import ask, listing, options, schedules, versions


@click.group(name="app", help="Running, deployed and stopped apps, their logs and versions.")
def group() -> None:
    pass


for _command in (versions.history, versions.rollback, versions.rollover, versions.info):
    group.add_command(_command)
for _command in (schedules.schedules, schedules.run_now):
    group.add_command(_command)


@group.command(name="list", help="Apps that run, are deployed or have stopped recently.")
@options.env_option
@options.json_option
@click.option("--limit", type=click.IntRange(min=1), help="Show at most so many.")
def list_apps(env: str | None, as_json: bool, limit: int | None) -> None:
    query: dict[str, Any] = {}
    if env:
        query["environment"] = env
    if limit:
        query["limit"] = limit
    apps = ask.request("app.list", query)["apps"]
    apps.sort(key=lambda app: (app["containers"], app["created_at"]), reverse=True)
    rows = [
        [
            app["app_id"], app["description"] or app["name"], app["state"],
            app["containers"] if as_json else str(app["containers"]),
            listing.iso(app["created_at"]), listing.iso(app["stopped_at"]),
        ]
        for app in apps[:limit]
    ]  # fmt: skip
    listing.show(["App ID", "Description", "State", "Tasks", "Created at", "Stopped at"], rows, as_json=as_json)


@group.command(help="Output of an app's containers. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@click.option("-f", "--follow", is_flag=True, help="Stay until the app has ended.")
@click.option("--since", metavar="TIME", help="From this time (ISO 8601) or age (30m, 2h, 1d).")
@click.option("--until", metavar="TIME", help="Up to this time or age.")
@click.option("-n", "--tail", type=int, help="Only the last so many entries (100 unless a range is given).")
@click.option("--search", metavar="TEXT", help="Only entries that contain this text.")
@click.option("--function", "function_id", metavar="ID", help="Only of this function (id or name).")
@click.option("--function-call", "call_id", metavar="ID", help="Only of this call.")
@click.option("--container", "container_id", metavar="ID", help="Only of this container.")
@click.option("-s", "--source", type=click.Choice(["stdout", "stderr", "system"]), help="Only of this stream.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--show-function-id", is_flag=True, help="Begin each line with the function's id.")
@click.option("--show-function-call-id", is_flag=True, help="Begin each line with the call's id.")
@click.option("--show-container-id", is_flag=True, help="Begin each line with the container's id.")
def logs(
    app_identifier: str,
    env: str | None,
    follow: bool,
    since: str | None,
    until: str | None,
    tail: int | None,
    timestamps: bool,
    **chosen: Any,
) -> None:
    query = options.log_range(follow=follow, since=since, until=until, tail=tail, default=100)
    app = versions.find(app_identifier, env)
    query["app_id"] = app["app_id"]
    if chosen["function_id"] in app["functions"]:
        chosen["function_id"] = app["functions"][chosen["function_id"]]
    for key in ("search", "function_id", "call_id", "container_id", "source"):
        if chosen[key]:
            query[key] = chosen[key]
    heads = [key for key in ("function_id", "call_id", "container_id") if chosen[_FLAGS[key]]]
    prefix = (lambda entry: "".join(f"{entry[key] or '-'} " for key in heads)) if heads else None
    ask.print_logs(query, timestamps=timestamps, prefix=prefix)


_FLAGS = {
    "function_id": "show_function_id",
    "call_id": "show_function_call_id",
    "container_id": "show_container_id",
}


@group.command(help="End an app: its inputs are cancelled, its containers stop. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@options.yes_option
def stop(app_identifier: str, env: str | None, yes: bool) -> None:
    app = versions.find(app_identifier, env)
    if app["state"] in ("stopping", "stopped"):
        raise click.ClickException(f"App {app['app_id']} has stopped already.")
    number = app["containers"]
    options.confirm(
        f"Stop app {app['description'] or app['name']} ({app['app_id']}) with {number} running "
        f"container{'' if number == 1 else 's'}?",
        yes=yes,
    )
    ask.request("app.stop", {"app_id": app["app_id"], "reason": "stopped", "message": "windlass app stop"})
    click.echo(f"Stopped app {app['app_id']}.")
