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
    help="Remove what nothing names. Uploads that nobody finished, blobs without a row, layers of no volume: the "
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


@group.command(help="What everything takes on the disk. And what of it could be freed, by which command.")
@options.json_option
def usage(as_json: bool) -> None:
    control.ensure(paths.home(), worker=True)
    found = ask.request("storage.usage", {})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        [one["what"], listing.size(one["size"]), _some(one["freeable"]), one["command"]] for one in found["kinds"]
    ]
    listing.show(["What", "On disk", "Can be freed", "By"], rows, as_json=False)
    if any(one["what"] == "layers of no volume" and one["size"] for one in found["kinds"]):
        click.echo(
            "Layers of no volume, such as those of deleted ones, are kept for a while; "
            "`windlass storage gc --older-than 1m` frees them now."
        )
    if found["volumes"]:
        listing.show(
            ["Volume", "Environment", "Newest", "On disk", "Shared", "Versions", "Quota"],
            [_volume(one) for one in found["volumes"]], as_json=False,
        )  # fmt: skip
    for title, key in (("Dict", "dicts"), ("Queue", "queues"), ("Network file system", "nfs")):
        if found[key]:
            held = [[_name(one), one["environment"], one["held"], listing.size(one["size"])] for one in found[key]]
            listing.show([title, "Environment", "Entries", "Size"], held, as_json=False)
    if found["objects"]:
        click.echo(f"Blobs and layers of volumes are kept in {found['objects']}; what is here of them are copies.")
    allowed = f"of {listing.size(found['quota'])} allowed" if found["quota"] else "without a quota"
    click.echo(
        f"Stored: {listing.size(found['counted'])} {allowed}. "
        f"Free on the disk: {listing.size(found['free'])} of {listing.size(found['disk'])}."
    )


def _volume(one: Any) -> list[Any]:
    sizes = [listing.size(one[key]) for key in ("newest", "size", "shared")]
    return [_name(one), one["environment"], *sizes, one["versions"], _some(one["quota"]) or "no limit"]


def _name(one: Any) -> str:
    return str(one["name"] or "(ephemeral)")


def _some(size: int) -> str:
    return listing.size(size) if size else ""
