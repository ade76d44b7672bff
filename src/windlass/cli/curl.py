"""`windlass curl`: curl, where names below .localhost are not resolved by the system."""
from __future__ import annotations

import os
import re
import shutil
import sys

import click

from windlass import exception, paths

_OURS = re.compile(r"(?:(https?)://)?([a-z0-9.-]+\.localhost)(?::([0-9]{1,5}))?(?:[/?#]|\Z)", re.IGNORECASE)


@click.command(
    name="curl",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    help="Run curl on the URL of a web function. The port may be left out; options of curl may follow.",
)
@click.argument("arguments", metavar="[OPTIONS] URL", nargs=-1, required=True, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    program = shutil.which("curl")
    if program is None:
        raise exception.NotFoundError("there is no curl on this machine", hint="apt-get install curl")
    quiet = [] if sys.stdout.isatty() else ["--silent", "--show-error"]  # a meter of progress is not for scripts
    os.execv(program, [program, *quiet, *_resolving(arguments), *arguments])


def _resolving(arguments: tuple[str, ...]) -> list[str]:
    """Options that let curl find our names on loopback; where no port is said, that of the platform."""
    found = []
    for one in arguments:
        if (url := _OURS.match(one)) is not None:
            scheme, host, said = (url[1] or "http").lower(), url[2], url[3]
            usual = 443 if scheme == "https" else 80
            port = int(said) if said else usual
            found += ["--connect-to", f"{host}:{port}:127.0.0.1:{port if said else _port(scheme) or usual}"]
    return found


def _port(scheme: str) -> int | None:
    """Where the platform's edge listens, as it has written down."""
    file = paths.home() / ("web.tls.port" if scheme == "https" else "web.port")
    words = file.read_text().split() if file.exists() else []
    return int(words[-1]) if words and words[-1].isdigit() else None
