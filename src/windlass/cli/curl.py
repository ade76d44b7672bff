"""`windlass curl`: curl, where names below .localhost are not resolved by the system."""
from __future__ import annotations

import os
import re
import shutil
import sys

import click

from windlass import exception, paths

_OURS = re.compile(r"(?:(https?)://)?([a-z0-9.-]+\.localhost)(?::([0-9]{1,5}))?(?:[/?#]|\Z)", re.IGNORECASE)

_NAMED = re.compile(r"([A-Za-z_][\w-]*\.[\w.-]*\w)((?:[/?].*)?)\Z")


@click.command(
    name="curl",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    help=(
        "Run curl on the URL of a web function, or on APP.FUNCTION, which a path may follow (shop.site/items?n=1). "
        "The port of a URL may be left out. Options of curl may be given, too. It does not start the platform."
    ),
)
@click.argument("arguments", metavar="[OPTIONS] URL", nargs=-1, required=True, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    program = shutil.which("curl")
    if program is None:
        raise exception.NotFoundError("there is no curl on this machine", hint="apt-get install curl")
    quiet = [] if sys.stdout.isatty() else ["--silent", "--show-error"]  # a meter of progress is not for scripts
    arguments = _addressed(arguments)
    os.execv(program, [program, *quiet, *_resolving(arguments), *arguments])


def _addressed(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """With the URL in the place of a function's name, which is the first argument or the last one. What no app has is
    a host's name, and curl's own matter; so is what follows a URL, such as the name of a file. Nothing is started for
    it: a platform that does not run answers no requests."""
    if "://" in arguments[0] or _OURS.match(arguments[0]):
        return arguments
    for at in dict.fromkeys((0, len(arguments) - 1)):
        if (named := _NAMED.match(arguments[at])) is not None and (url := _url(named[1])) is not None:
            return (*arguments[:at], url + named[2], *arguments[at + 1 :])
    return arguments


def _url(name: str) -> str | None:
    from windlass.cli import ask, control, function
    from windlass.client import address

    home = address.of_process().home
    if home is not None and control.ask_server(home) is None:
        click.echo(f"The platform does not run, so {name} is taken for the name of a host.", err=True)
        return None
    try:
        identity = function.find(name, None, None)
    except exception.NotFoundError:
        return None
    urls: dict[str, str] = ask.request("function.get", {"function_id": identity}).get("web_urls", {})
    return urls.get("") or urls.get(name.rpartition(".")[2])


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
