"""`windlass billing …`: what apps had of the machines."""
from __future__ import annotations

import csv
import sys
from typing import Any

import click

from windlass.cli import ask, listing, options

_COLUMNS = (
    "App ID", "App", "Environment", "Begin", "CPU seconds", "Memory GiB seconds", "GPU seconds", "Used CPU seconds",
    "Containers",
)  # fmt: skip


@click.group(name="billing", help="What apps had of the machines: cores, memory and GPUs, times seconds.")
def group() -> None:
    pass


@group.command(
    help="What each app had of the machines. What its containers were promised counts, from their beginning to their "
    "end, because nobody else could have that; on machines of your own it has no price."
)
@click.option("--since", "--start", metavar="TIME", help="From this time (ISO 8601) or age (2h, 7d): 30d by default.")
@click.option("--until", "--end", metavar="TIME", help="Up to this time or age; whole hours count.")
@click.option(
    "--by", "--resolution", type=click.Choice(["total", "d", "h"]), default="total", show_default=True,
    help="One row for each app, or one for each of its days (UTC) or hours.",
)  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
@options.env_option
@options.json_option
def report(since: str | None, until: str | None, by: str, as_csv: bool, env: str | None, as_json: bool) -> None:
    if as_csv and as_json:
        raise click.UsageError("--csv and --json cannot be combined.")
    query: dict[str, Any] = {"resolution": {"d": "day", "h": "hour"}.get(by, by)}
    if env:
        query["environment"] = env
    for name, given in (("since", since), ("until", until)):
        if given:
            query[name] = options.moment(given)
    found = ask.request("billing.report", query)
    rows = [_row(one) for one in found["rows"]]
    if as_csv:
        csv.writer(sys.stdout).writerows([_COLUMNS, *rows])
        return
    listing.show(_COLUMNS, rows, as_json=as_json, spare=("App ID", "Environment", "Used CPU seconds"))
    if not as_json:
        _totals(found)


def _row(one: Any) -> list[Any]:
    seconds = [round(one[key], 1) for key in _SECONDS]
    return [one["app_id"], one["app"], one["environment"], listing.iso(one["begin"]), *seconds, one["containers"]]


_SECONDS = ("cpu_seconds", "memory_gib_seconds", "gpu_seconds", "used_cpu_seconds")


def _totals(found: Any) -> None:
    cores, memory, gpus = (sum(one[key] for one in found["rows"]) / 3600 for key in _SECONDS[:3])
    click.echo(
        f"{listing.iso(found['since'])} to {listing.iso(found['until'])}: "
        f"{cores:,.2f} core-hours, {memory:,.2f} GiB-hours, {gpus:,.2f} GPU-hours."
    )
