"""`windlass app schedules` and `windlass app run-now`."""
from __future__ import annotations

from typing import Any

import click

from windlass.cli import ask, listing, options


@click.command(help="Functions of an app that run by themselves. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@options.env_option
@options.json_option
def schedules(app_identifier: str, env: str | None, as_json: bool) -> None:
    from windlass.cli import words

    found = _of_app(ask.find_app(app_identifier, env))
    rows = [
        [
            one["tag"], one["function_id"] if as_json else None, words.schedule(one["schedule"]),
            listing.iso(one["next_at"]), listing.iso(one["fired_at"]), one["call_id"],
        ]
        for one in found
    ]  # fmt: skip
    columns = ["Function", "Function ID", "Schedule", "Next run", "Last run", "Last call"]
    if not as_json:
        del columns[1]
        rows = [[row[0], *row[2:]] for row in rows]
    listing.show(columns, rows, as_json=as_json)


@click.command(name="run-now", help="Run a function that has a schedule now. APP is a name or an id.")
@click.argument("app_identifier", metavar="APP")
@click.argument("function")
@options.env_option
def run_now(app_identifier: str, function: str, env: str | None) -> None:
    import difflib

    from windlass import exception
    from windlass.kit import ids

    app = ask.find_app(app_identifier, env)
    identity = app["functions"].get(function, function if ids.is_id(function, "fu") else None)
    if identity is None:
        known = [one["tag"] for one in _of_app(app)]
        close = difflib.get_close_matches(function, known, n=1)
        raise exception.NotFoundError(
            f"app {app['name'] or app['app_id']} has no function {function!r}.",
            hint=f"Did you mean {close[0]}?" if close else _scheduled(known),
        )
    call_id = ids.new("fc")
    ask.request("schedule.fire", {"function_id": identity, "call_id": call_id})
    click.echo(f"Function {function} runs as call {call_id}.")


def _scheduled(known: list[str]) -> str:
    return f"With a schedule it has: {', '.join(known)}." if known else "None of its functions has a schedule."


def _of_app(app: Any) -> list[Any]:
    found: list[Any] = ask.request("schedule.list", {"app_id": app["app_id"]})["schedules"]
    return sorted(found, key=lambda one: (one["next_at"] is None, one["next_at"], one["tag"]))
