"""`windlass curl`: curl, where names below .localhost are not resolved by the system."""
from __future__ import annotations

import os
import shutil
from urllib import parse

import click

from windlass import exception


@click.command(
    name="curl",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    help="Run curl on the URL of a web function. Options of curl may follow or precede it.",
)
@click.argument("arguments", metavar="[OPTIONS] URL", nargs=-1, required=True, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    program = shutil.which("curl")
    if program is None:
        raise exception.NotFoundError("there is no curl on this machine", hint="apt-get install curl")
    os.execv(program, [program, *_resolving(arguments), *arguments])


def _resolving(arguments: tuple[str, ...]) -> list[str]:
    """Options that let curl find our names on loopback."""
    found = []
    for one in arguments:
        url = parse.urlsplit(one) if "://" in one else None
        if url is not None and url.hostname is not None and url.hostname.endswith(".localhost"):
            port = url.port or (443 if url.scheme == "https" else 80)
            found += ["--resolve", f"{url.hostname}:{port}:127.0.0.1"]
    return found
