"""`windlass function …`: what a function is, how it does, what it was called with lately."""
from __future__ import annotations

import time
from typing import Any

import click

from windlass import exception
from windlass.cli import ask, listing, options, words

_WINDOWS = (("5 min", 300.0), ("1 h", 3600.0), ("24 h", 86400.0))
_LONGEST, _OLDEST = 7, 30  # days


@click.group(name="function", help="What functions are, their figures, recent calls and logs.")
def group() -> None:
    pass


def _chosen(function: Any) -> Any:
    """The argument and options that name a function."""
    function = click.option("-a", "--app", "app", metavar="APP", help="The app it belongs to (name or id).")(function)
    return options.env_option(click.argument("function", metavar="FUNCTION")(function))


@group.command(help="What a function is and how it stands. FUNCTION is an id, NAME (of --app) or APP.NAME.")
@_chosen
@options.json_option
def info(function: str, app: str | None, env: str | None, as_json: bool) -> None:
    found = ask.request("function.info", {"function_id": find(function, app, env)})
    facts = words.function(found)
    if as_json:
        listing.show(list(facts), [list(facts.values())], as_json=True)
        return
    listing.facts(facts)
    if found["containers"]:
        click.echo("")
        words.show_containers(found["containers"])


@group.command(help="Figures of a function: inputs, failures, times, memory.")
@_chosen
@options.span_options
@options.json_option
def stats(
    function: str, app: str | None, env: str | None, since: str | None, until: str | None, as_json: bool
) -> None:
    spans = spans_of(since, until)
    show_figures({"function_id": find(function, app, env)}, spans, as_json=as_json)


Spans = list[tuple[str, float, float]]


def show_figures(whose: dict[str, str], spans: Spans, *, as_json: bool) -> None:
    """Of a function or an app, a column for each span."""
    figures = [
        ask.request("function.figures", {**whose, "since": begin, "until": end}) for _, begin, end in spans
    ]
    if as_json:
        plain = [{"Window": name, **words.plain_figures(one)} for (name, _, _), one in zip(spans, figures, strict=True)]
        listing.show(list(plain[0]), [list(row.values()) for row in plain], as_json=True)
        return
    columns = [words.figures(one) for one in figures]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    listing.show(["", *(name for name, _, _ in spans)], rows, as_json=False)


def spans_of(since: str | None, until: str | None) -> Spans:
    """(title, since, until); some usual ones unless a range is asked for."""
    now = time.time()
    if since is None and until is None:
        return [(name, now - seconds, now) for name, seconds in _WINDOWS]
    end = options.moment(until) if until else now
    begin = options.moment(since) if since else end - 3600.0
    if begin > end:
        raise click.UsageError("The range ends before it begins.")
    if end - begin > _LONGEST * 86400 + 1:
        raise click.UsageError(f"The range may span {_LONGEST} days at most.")
    if now - begin > _OLDEST * 86400 + 60:
        raise click.UsageError(f"The range may begin {_OLDEST} days ago at the earliest.")
    return [(f"{listing.iso(begin)} to {listing.iso(end)}", begin, end)]


@group.command(help="Recent calls of a function. Each failed attempt, spawned and slow inputs, samples of the rest.")
@_chosen
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@click.option("--failed", is_flag=True, help="Only failures.")
@options.json_option
def calls(function: str, app: str | None, env: str | None, limit: int, failed: bool, as_json: bool) -> None:
    query = {"function_id": find(function, app, env), "limit": limit, "failed": failed}
    words.show_records(ask.request("call.records", query)["records"], as_json=as_json)


@group.command(help="Output of a function's containers.")
@_chosen
@options.log_options
def logs(function: str, app: str | None, env: str | None, **chosen: Any) -> None:
    function_id = find(function, app, env)
    query = options.log_query(chosen)
    query["app_id"] = ask.request("function.info", {"function_id": function_id})["app_id"]
    ask.print_logs({**query, "function_id": function_id}, timestamps=chosen["timestamps"])


def find(wanted: str, app: str | None, env: str | None) -> str:
    """The id of a function that is named by itself or with its app. A method stands for its class."""
    from windlass.kit import ids

    if ids.is_id(wanted, "fu"):
        return wanted
    query = {**options.environment(env), "limit": 1000}
    apps = [ask.find_app(app, env)] if app else ask.request("app.list", query)["apps"]
    found = _in_apps(apps, wanted)
    running = [pair for pair in found if pair[0]["state"] != "stopped"]
    if len(running) > 1:
        running = _of_default_environment(running) or running
    if len(running) > 1:
        names = ", ".join(sorted(_shown(one) for one, _ in running))
        raise click.UsageError(
            f"Several apps have a function {wanted!r}: {names}. Write the id of the one that is meant before it: "
            f"{running[0][0]['app_id']}.{running[0][1].removesuffix('.*')}"
        )
    if not found:
        place = f"app {app!r}" if app else "any app"
        raise exception.NotFoundError(
            f"there is no function {wanted!r} in {place}", hint=_known(apps) if app else "`windlass app list` helps."
        )
    chosen, tag = (running or found)[0]
    return str(chosen["functions"][tag])


def _of_default_environment(found: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Those that are meant where no environment is named, as in programs."""
    environments = ask.request("environment.list", {})["environments"]
    return [pair for pair in found if pair[0]["environment"] in [one["name"] for one in environments if one["default"]]]


def _shown(app: Any) -> str:
    return f"{app['description'] or app['name']} ({app['app_id']}, environment {app['environment']})"


def _in_apps(apps: list[Any], wanted: str) -> list[tuple[Any, str]]:
    """Apps that have a function ``wanted``, with its tag; where none has, it may be ``APP.NAME``."""
    found = [(one, tag) for one in apps if (tag := tag_of(one["functions"], wanted)) is not None]
    if found:
        return found
    heads = [(one, head) for one in apps for head in dict.fromkeys((one["app_id"], one["name"], one["description"]))]
    parts = [(one, wanted[len(head) + 1 :]) for one, head in heads if head and wanted.startswith(f"{head}.")]
    return [(one, tag) for one, rest in parts if (tag := tag_of(one["functions"], rest)) is not None]


def tag_of(functions: dict[str, str], wanted: str) -> str | None:
    """How an app's layout names ``wanted``: a function, a class, or a method of one."""
    return next((tag for tag in (wanted, f"{wanted}.*", f"{wanted.partition('.')[0]}.*") if tag in functions), None)


def _known(apps: list[Any]) -> str:
    return f"It has: {', '.join(sorted(tag.removesuffix('.*') for one in apps for tag in one['functions']))}."
