"""`windlass storage …`: what the platform keeps on its disk, and what of it nothing needs."""
from __future__ import annotations

import json
from typing import Any

import click

from windlass import paths
from windlass.cli import ask, control, listing, options, upkeep


@click.group(name="storage", help="What the platform stores: usage, and removal of what nothing needs.")
def group() -> None:
    pass


@group.command(
    help="Remove what nothing names: uploads that nobody finished, blobs without a row, layers of no volume. The "
    "platform does so by itself, later; nothing that is on its way is touched."
)
@click.option("--older-than", metavar="AGE", type=upkeep.seconds, help="Of this age (5m, 2h, 7d); at least 1m.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@options.json_option
def gc(older_than: float | None, dry_run: bool, as_json: bool) -> None:
    control.ensure(paths.home(), worker=True)
    query: dict[str, Any] = {"dry_run": dry_run}
    if older_than is not None:
        query["older_than"] = older_than
    found = ask.request("storage.gc", query)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [[one["what"], one["count"], listing.size(one["size"])] for one in found["garbage"]]
    listing.show(["What", "Count", "Size"], rows, as_json=False)
    click.echo(f"{'Would free' if dry_run else 'Freed'} {listing.size(found['size'])}.")
