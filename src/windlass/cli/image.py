"""`windlass image …`."""
from __future__ import annotations

import json
import sys
from typing import Any

import click

from windlass.cli import ask, listing, lock, options, upkeep


@click.group(name="image", help="Images: list, names, how they were built.")
def group() -> None:
    pass


for _command in (lock.command, upkeep.prune, upkeep.fsck, upkeep.export):
    group.add_command(_command)


@group.command(name="list", help="Images, those used last first.")
@options.env_option
@options.json_option
@click.option("--all", "everything", is_flag=True, help="Also those that only later steps stand on.")
def list_images(env: str | None, as_json: bool, everything: bool) -> None:
    query: dict[str, Any] = {"all": everything, **options.environment(env)}
    size = (lambda number: number) if as_json else listing.size
    rows = [
        [
            one["image_id"], one["command"] if as_json else listing.short(one["command"]),
            size(one["size"]), size(one["total"]), size(one["shared"]),
            listing.iso(one["built_at"]), listing.iso(one["used_at"]),
            one["names"] if as_json else " ".join(one["names"]),
        ]
        for one in ask.request("image.list", query)["images"]
    ]  # fmt: skip
    titles = ["Image ID", "Last step", "Size", "Total", "Shared", "Created at", "Last used", "Names"]
    listing.show(titles, rows, as_json=as_json, spare=["Shared", "Created at", "Total", "Last used"])


@group.command(help="An image's steps, sizes, settings, names, and who uses it. IMAGE is an id or a name.")
@click.argument("image", metavar="IMAGE")
@options.env_option
@options.json_option
def info(image: str, env: str | None, as_json: bool) -> None:
    found = ask.request("image.info", upkeep.named(image, env))
    if as_json:
        for key in ("built_at", "used_at"):
            found[key] = listing.iso(found[key])
        click.echo(json.dumps(found, indent=2))
        return
    facts = [
        ("Image", found["image_id"]),
        ("Names", " ".join(found["names"])),
        ("Size", f"{listing.size(found['total'])}, {listing.size(found['shared'])} of it shared with other images"),
        ("Python", found["python"]),
        ("Work folder", found["workdir"]),
        ("Entry point", json.dumps(found["entrypoint"]) if found["entrypoint"] else ""),
        ("Digest", found["digest"]),
        ("Created at", listing.iso(found["built_at"])),
        ("Last used", listing.iso(found["used_at"])),
        *(("Variable", f"{name}={value}") for name, value in sorted(found["env"].items())),
        *(("Used by", _user(user)) for user in found["users"]),
    ]
    for title, value in facts:
        if value:
            click.echo(f"{title + ':':<13}{value}")
    click.echo()
    rows = [
        [str(number), step["image_id"], listing.short(step["command"]), listing.size(step["size"]), str(step["others"])]
        for number, step in enumerate(found["steps"], 1)
    ]
    listing.show(["Step", "Image ID", "Recipe", "Size", "In others"], rows, as_json=False)
    if found["sharing"]:
        click.echo()
        rows = [
            [one["image_id"], listing.short(one["command"]), listing.size(one["size"])] for one in found["sharing"]
        ]
        listing.show(["Shares with Image ID", "Last step", "Size"], rows, as_json=False)


def _user(user: Any) -> str:
    return f"{user['description']} ({user['app_id']}): {', '.join(sorted(user['functions']))}"


@group.command(help="What the steps of an image printed when they were built. IMAGE is an id or a name.")
@click.argument("image", metavar="IMAGE")
@options.env_option
@options.json_option
@click.option("-f", "--follow", is_flag=True, help="Stay until what is being built is done.")
@click.option("--layer", metavar="STEP", help="Only this step: its id or number (1 is the base, -1 the last).")
def logs(image: str, env: str | None, as_json: bool, follow: bool, layer: str | None) -> None:
    if as_json and follow:
        raise click.UsageError("--follow cannot be combined with --json.")
    query: dict[str, Any] = {"image_id": _image_id(image, env), "follow": follow}
    if layer:
        query["layer"] = layer
    layers: list[dict[str, Any]] = []
    try:
        for event in ask.stream("image.logs", query):
            if as_json:
                _collect(layers, event)
            else:
                _print(event)
    except KeyboardInterrupt:
        if not follow:
            raise
    if as_json:
        click.echo(json.dumps(layers, indent=2))


def _collect(layers: list[dict[str, Any]], event: Any) -> None:
    kind = event.pop("kind")
    if kind == "layer":
        layers.append({**event, "started_at": listing.iso(event["started_at"]), "text": ""})
    elif kind == "log":
        layers[-1]["text"] += event["text"]
    else:
        layers[-1].update(event, ended_at=listing.iso(event["ended_at"]))


def _print(event: Any) -> None:
    """Titles go to stderr, so that stdout holds what the steps printed and nothing else."""
    if event["kind"] == "layer":
        title = f"Step {event['step']}/{event['steps']}: {event['command']} ({event['image_id']})"
        click.echo(title if event["started_at"] else f"{title}: no log is kept", err=True)
    elif event["kind"] == "log":
        sys.stdout.write(event["text"])
        sys.stdout.flush()
    elif event["error"]:
        click.echo(f"Failed: {event['error']}", err=True)
    elif event["ended_at"] is None:
        click.echo("It is still being built.", err=True)


@group.command(help="Give an image a name, NAME[:TAG]. What it meant before is forgotten. IMAGE is an id or a name.")
@click.argument("image", metavar="IMAGE")
@click.argument("name", metavar="NAME")
@options.env_option
def publish(image: str, name: str, env: str | None) -> None:
    from windlass.client import names

    environment, plain, tag = names.image(name, env)
    image_id = _image_id(image, env if "/" not in image else None)
    ask.request(
        "image.publish", {"image_id": image_id, "name": plain, "tag": tag, "environment": environment}
    )
    click.echo(f"{plain}:{tag} is {image_id} now.")


def _image_id(image: str, env: str | None) -> str:
    """Of an id, which need not exist, or of a name, which must."""
    query = upkeep.named(image, env)
    return query["image_id"] if "image_id" in query else str(ask.request("image.get", query)["image_id"])
