"""`windlass app …`."""
from __future__ import annotations

from typing import Any

import click

from windlass import exception
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
    query: dict[str, Any] = {**options.environment(env)}
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
@options.log_options
@click.option("--function", "function_id", metavar="ID", help="Only of this function (id or name).")
@click.option("--function-call", "call_id", metavar="ID", help="Only of this call.")
@click.option("--container", "container_id", metavar="ID", help="Only of this container.")
@click.option("--show-function-id", is_flag=True, help="Begin each line with the function's id.")
@click.option("--show-function-call-id", is_flag=True, help="Begin each line with the call's id.")
@click.option("--show-container-id", is_flag=True, help="Begin each line with the container's id.")
def logs(app_identifier: str, env: str | None, **chosen: Any) -> None:
    query = options.log_query(chosen)
    for key, prefix, what in (("call_id", "fc", "call"), ("container_id", "ta", "container")):
        if chosen[key]:
            query[key] = options.check_id(chosen[key], prefix, what)
    app = ask.find_app(app_identifier, env)
    query["app_id"] = app["app_id"]
    if chosen["function_id"]:
        query["function_id"] = _function(app, chosen["function_id"])
    heads = [key for key in ("function_id", "call_id", "container_id") if chosen[_FLAGS[key]]]
    begin = (lambda entry: "".join(f"{entry[key] or '-'} " for key in heads)) if heads else None
    ask.print_logs(query, timestamps=chosen["timestamps"], prefix=begin)


def _function(app: Any, wanted: str) -> str:
    """The id of one of its functions, by name or id."""
    from windlass.cli import function
    from windlass.kit import ids

    tag = function.tag_of(app["functions"], wanted)
    if tag is not None:
        return str(app["functions"][tag])
    if ids.is_id(wanted, "fu"):  # maybe a variant, or of an earlier version
        return wanted
    raise exception.NotFoundError(
        f"app {app['app_id']} has no function {wanted!r}",
        hint=f"It has: {', '.join(sorted(tag.removesuffix('.*') for tag in app['functions']))}.",
    )


_FLAGS = {
    "function_id": "show_function_id",
    "call_id": "show_function_call_id",
    "container_id": "show_container_id",
}


@group.command(help="Figures of an app: inputs, failures, times, memory. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@options.span_options
@options.json_option
def stats(app_identifier: str, env: str | None, since: str | None, until: str | None, as_json: bool) -> None:
    from windlass.cli import function

    spans = function.spans_of(since, until)
    function.show_figures({"app_id": ask.find_app(app_identifier, env)["app_id"]}, spans, as_json=as_json)


@group.command(help="End an app: its inputs are cancelled, its containers stop. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@options.yes_option
def stop(app_identifier: str, env: str | None, yes: bool) -> None:
    app = ask.find_app(app_identifier, env)
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
