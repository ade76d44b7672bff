"""Options that several commands share, and what their words mean."""
from __future__ import annotations

import datetime
import re
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from windlass import exception

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RANGE_DAYS = 35
_MAX_TAIL = 20_000


def env_option(function: F) -> F:
    return click.option("-e", "--env", metavar="NAME", help="Environment to look in.")(function)


def environment(env: str | None) -> dict[str, str]:
    """The part of a query that names the environment: the option's, or that of ``WINDLASS_ENVIRONMENT``, or none."""
    from windlass.client import names

    chosen = names.environment(env)
    return {"environment": chosen} if chosen else {}


def argument(env: str | None) -> str:
    """The same for a line of a program, which may run where another one is usual: what follows the name in it."""
    return f', environment_name="{env}"' if env else ""


def json_option(function: F) -> F:
    return click.option("--json/--no-json", "as_json", default=False, help="A JSON array of objects.")(function)


def strategy_option(function: F) -> F:
    return click.option(
        "--strategy",
        type=click.Choice(["rolling", "recreate"]),
        default="rolling",
        show_default=True,
        help="Old containers serve until new ones can (rolling), or are stopped at once (recreate).",
    )(function)


def yes_option(function: F) -> F:
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only with consent. Raises ``click.Abort``, or says that ``--yes`` is needed where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.ClickException(f"{question} Nobody can be asked here; pass --yes to go on.")
    click.confirm(question, abort=True)


def moment(text: str) -> float:
    """Seconds since the epoch for an ISO 8601 time (naive ones are local) or an age such as ``30m``, ``2h``, ``1d``."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return time.time() - float(match[1]) * _UNITS[match[2]]
    try:
        # Python 3.10 does not read the "Z" yet.
        return datetime.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text)).timestamp()
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither an ISO 8601 time nor an age such as 30m, 2h or 1d.") from None


def log_range(*, follow: bool, since: str | None, until: str | None, tail: int | None, default: int) -> dict[str, Any]:
    """The part of ``apps.LogQuery`` that says which entries: following, a range, or the last ones."""
    if follow:
        if since or until or tail is not None:
            raise click.UsageError("--follow cannot be combined with --since, --until or --tail.")
        return {"follow": True}
    query: dict[str, Any] = {}
    if since:
        query["since"] = moment(since)
    if until:
        query["until"] = moment(until)
    if "until" in query and query["until"] < query.get("since", 0.0):
        raise click.UsageError("The range ends before it begins.")
    if query.get("until", time.time()) - query.get("since", time.time()) > _RANGE_DAYS * 86400:
        raise click.UsageError(f"The range may span {_RANGE_DAYS} days at most.")
    if tail is not None and not 0 < tail <= _MAX_TAIL:
        raise click.UsageError(f"--tail must be between 1 and {_MAX_TAIL:,}.")
    if tail is not None or not since:
        query["tail"] = tail if tail is not None else default
    return query


def log_options(function: F) -> F:
    """Which entries, and how to print them; ``log_query`` reads what they say."""
    for option in reversed((
        click.option("-f", "--follow", is_flag=True, help="Stay until the app has ended."),
        click.option("--since", metavar="TIME", help="From this time (ISO 8601) or age (30m, 2h, 1d)."),
        click.option("--until", metavar="TIME", help="Up to this time or age."),
        click.option("-n", "--tail", type=int, help="Only the last so many entries (100 unless a range is given)."),
        click.option("--search", metavar="TEXT", help="Only entries that contain this text."),
        click.option("-s", "--source", type=click.Choice(["stdout", "stderr", "system"]), help="Only of this stream."),
        click.option("--timestamps", is_flag=True, help="Begin each line with its time."),
    )):  # fmt: skip
        function = option(function)
    return function


def log_query(chosen: dict[str, Any], *, everything: bool = False) -> dict[str, Any]:
    """The part of ``apps.LogQuery`` that ``log_options`` decide. ``everything``: no range was asked for but all."""
    query: dict[str, Any] = {}
    if not everything:
        names = ("follow", "since", "until", "tail")
        query = log_range(**{name: chosen[name] for name in names}, default=100)
    query.update({name: chosen[name] for name in ("search", "source") if chosen[name]})
    return query


def check_id(text: str, prefix: str, what: str) -> str:
    """``text`` if it has the form of such an identity. Raises ``InvalidError``."""
    from windlass.kit import ids

    if not ids.is_id(text, prefix):
        raise exception.InvalidError(
            f"{text!r} is no {what} id.", hint=f"They look like {prefix}-3kTMd84yYpZq0vXWb1sRNf."
        )
    return text


def span_options(function: F) -> F:
    """Of commands that show figures."""
    since = click.option("--since", metavar="TIME", help="From this time (ISO 8601) or age (30m, 2h, 1d).")
    return since(click.option("--until", metavar="TIME", help="Up to this time or age.")(function))
