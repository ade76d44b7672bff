"""`windlass image prune`, `fsck` and `export`: looking after the images of this machine."""
from __future__ import annotations

import json
import re
import sys
from typing import Any

import click

from windlass import paths
from windlass.cli import ask, control, listing, options
from windlass.kit import sizes
from windlass.wire.messages import upkeep

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def seconds(text: str) -> float:
    """Of an age: ``90s``, ``30m``, ``2h``, ``7d``, ``4w``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no age such as 30m, 2h, 7d or 4w.")
    return float(match[1]) * _AGES[match[2]]


def size_in_bytes(text: str) -> int:
    """Of a size: ``20GB``, ``500MB``, ``1.5TB``, ``10GiB``."""
    try:
        return sizes.parse(text)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}.") from None


@click.command(
    help="Remove images that nothing uses. By default those not used for 7 days. Apps that have not stopped, builds "
    "and names keep theirs, and what those stand on."
)
@click.option("--older-than", metavar="AGE", type=seconds, help="Not used for so long (30m, 2h, 7d, 4w).")
@click.option("--keep-size", metavar="SIZE", type=size_in_bytes, help="The longest unused, down to this (20GB).")
@click.option("--all", "everything", is_flag=True, help="All that nothing uses, however young.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@options.yes_option
@options.json_option
def prune(
    older_than: float | None, keep_size: int | None, everything: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    if everything and (older_than is not None or keep_size is not None):
        raise click.UsageError("--all cannot be combined with --older-than or --keep-size.")
    control.ensure(paths.home())
    query: dict[str, Any] = {"everything": everything}
    if older_than is not None:
        query["older_than"] = older_than
    if keep_size is not None:
        query["keep_size"] = keep_size
    found = None
    if dry_run or not yes:
        found = ask.request("image.prune", {**query, "dry_run": True})
        if not as_json:
            _show(found)
    if not dry_run and (found is None or found["images"]):
        options.confirm("Remove these images?", yes=yes)
        found = ask.request("image.prune", query)
        if not as_json:
            click.echo(f"Removed {_images(len(found['images']))}, {listing.size(found['size'])}.")
    if as_json and found is not None:
        found["images"] = [{**one, "used_at": listing.iso(one["used_at"])} for one in found["images"]]
        click.echo(json.dumps(found, indent=2))


def _show(found: Any) -> None:
    if not found["images"]:
        click.echo("There is nothing to remove.")
        return
    rows = [
        [one["image_id"], listing.short(one["command"]), listing.size(one["size"]), listing.iso(one["used_at"])]
        for one in found["images"]
    ]
    listing.show(["Image ID", "Last step", "Frees", "Last used"], rows, as_json=False)
    click.echo(
        f"{_images(len(rows))} would go and free {listing.size(found['size'])} of {listing.size(found['stored'])}."
    )


def _images(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"


@click.command(help="Compare each layer of the store with its seal. Ends with exit code 1 where something is damaged.")
@click.option("--repair", is_flag=True, help="Remove what is damaged, and what stands on it: it is built anew.")
@options.json_option
def fsck(repair: bool, as_json: bool) -> None:
    control.ensure(paths.home())
    findings: list[dict[str, Any]] = []
    checked, removed = 0, []
    for event in ask.stream("image.fsck", {"repair": repair}):
        if "finding" in event:
            findings.append(event["finding"])
        elif "of" in event:
            _progress(f"Looking at layer {event['done'] + 1} of {event['of']}")
        else:
            checked, removed = event["checked"], event["removed"]
    _progress("")
    bad = [one for one in findings if one["kind"] not in upkeep.HARMLESS and not one.get("repaired")]
    if as_json:
        click.echo(json.dumps({"checked": checked, "findings": findings, "removed": removed}, indent=2))
    else:
        _report(findings, checked, removed, healthy=not bad, repair=repair)
    if bad:
        raise SystemExit(1)


def _report(findings: list[Any], checked: int, removed: list[str], *, healthy: bool, repair: bool) -> None:
    for one in findings:
        mark = "repaired: " if one.get("repaired") else "note: " if one["kind"] in upkeep.HARMLESS else ""
        remark = f" ({one['remark']})" if one.get("remark") else ""
        click.echo(f"{mark}{one['name']}: {one['detail']}{remark}")
    if removed:
        click.echo(f"Removed {_images(len(removed))}; what needs them builds them anew.")
    click.echo(f"{checked} layers are looked at; " + ("all is well." if healthy else "the store is damaged."))
    if not healthy and not repair:
        click.echo("Run `windlass image fsck --repair` to remove what is damaged.")


@click.command(help="Write an image to FILE as an OCI archive. FILE '-' is stdout; podman, skopeo and others read it.")
@click.argument("image", metavar="IMAGE")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["oci"]), default="oci", help="There is one: oci.")
@options.env_option
def export(image: str, file: str, form: str, env: str | None) -> None:
    from windlass.cli import download

    size = download.image({**named(image, env), "format": form}, file, tell=_progress)
    _progress("")
    if file != "-":
        click.echo(f"Wrote {listing.size(size)} to {file}.")


def named(image: str, env: str | None) -> dict[str, str]:
    """The part of a query that says which image: an id, or a name in an environment."""
    from windlass.client import names

    if image.startswith("im-"):
        return {"image_id": options.check_id(image, "im", "image")}
    environment, name, tag = names.image(image, env)
    return {"name": name, "tag": tag, "environment": environment}


def _progress(text: str) -> None:
    """One line on the terminal that the next one replaces; nothing where nobody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
