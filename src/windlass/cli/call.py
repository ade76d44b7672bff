"""`windlass call …`: calls of the past, and running one of them again."""
from __future__ import annotations

from typing import Any

import click

from windlass import exception
from windlass.cli import ask, function, listing, options, words


@click.group(name="call", help="Calls of the past: list, look at, run again.")
def group() -> None:
    pass


@group.command(name="list", help="Recent calls. Each failed attempt, spawned and slow inputs, samples of the rest.")
@click.option("-a", "--app", "app", metavar="APP", help="Only of this app (name or id).")
@click.option("--function", "name", metavar="FUNCTION", help="Only of this function (id or name).")
@options.env_option
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@click.option("--failed", is_flag=True, help="Only failures.")
@options.json_option
def list_calls(
    app: str | None, name: str | None, env: str | None, limit: int, failed: bool, as_json: bool
) -> None:
    query: dict[str, Any] = {"limit": limit, "failed": failed}
    if name:
        query["function_id"] = function.find(name, app, env)
    elif app:
        query["app_id"] = ask.find_app(app, env)["app_id"]
    else:
        query |= options.environment(env)
    words.show_records(ask.request("call.records", query)["records"], as_json=as_json, apps=not (name or app))


@group.command(help="What is known of a call. Each attempt at its inputs, with times, container and reason.")
@click.argument("call_id", metavar="ID")
@options.json_option
def info(call_id: str, as_json: bool) -> None:
    options.check_id(call_id, "fc", "call")
    records = ask.request("call.records", {"call_id": call_id, "limit": 10_000})["records"]
    if as_json:
        words.show_records(records, as_json=True)
        return
    try:
        call = ask.request("call.get", {"call_id": call_id})
    except (exception.NotFoundError, exception.OutputExpiredError):
        call = None  # forgotten before its records are
    listing.facts(words.call(call_id, call, records))
    click.echo("")
    words.show_records(records, as_json=False)


@group.command(
    help="""Run an input of a call again. A new call of the same function with the same code, image and arguments, in a
    container of its own. The original stays as it is. With --local it runs on this machine, in this Python, with the
    code as it was.""",
)
@click.argument("call_id", metavar="ID")
@click.option("--index", type=click.IntRange(min=0), default=0, help="Which input of the call (the first is 0).")
@click.option("--local", is_flag=True, help="On this machine instead of in a container.")
@click.option("--debug", is_flag=True, help="Locally; open the debugger where the exception is raised.")
@click.option("--step", is_flag=True, help="Locally; open the debugger where the function begins.")
@click.option("--timestamps", is_flag=True, help="Begin each line of the container with its time.")
def replay(call_id: str, index: int, local: bool, debug: bool, step: bool, timestamps: bool) -> None:
    from windlass.cli import replay as again

    options.check_id(call_id, "fc", "call")
    if local or debug or step:
        raise SystemExit(again.locally(call_id, index, debug=debug, step=step))
    again.in_container(call_id, index, timestamps=timestamps)
