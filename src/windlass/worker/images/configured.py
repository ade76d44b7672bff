"""Windlass' own settings for builds: the file ``build.env`` in the home. It wins over what the machine says.

    # <home>/build.env: NAME=VALUE lines, in quotes where there are spaces at an end or a #
    HTTPS_PROXY=http://proxy.company.example:3128
    NO_PROXY=.company.example
    SSL_CERT_FILE=/etc/ssl/company.pem
    PIP_INDEX_URL=https://pypi.company.example/simple
    WINDLASS_APT_MIRROR=http://mirror.company.example/debian

The names are those that the tools know (proxies, ``SSL_CERT_FILE``, ``PIP_*``, ``UV_*``), and a few of our own. A name
without a value takes away what the machine says. Read at each build, so nothing needs to be started again.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from windlass import exception

FILE = "build.env"

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
BUNDLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
APT_MIRROR = "WINDLASS_APT_MIRROR"
"""The archive that packages come from, and after a space its security archive."""

# What one tool is told, and where the machine may have told the other one the same: it must not contradict the file.
_FOLLOWERS = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
    "PIP_TRUSTED_HOST": ("UV_INSECURE_HOST",),
    "PIP_DEFAULT_TIMEOUT": ("UV_HTTP_TIMEOUT",),
    **{name: tuple(other for other in BUNDLES if other != name) for name in BUNDLES},
    **{name.upper(): (name,) for name in PROXIES},
    **{name: (name.upper(),) for name in PROXIES},
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def environ(file: Path, machine: Mapping[str, str]) -> dict[str, str]:
    """The environment that counts for builds: ``machine``, with what ``file`` says over it.

    A name that the file empties stays, with the value "": it also hides what configuration files say.

    Raises:
        InvalidError: the file cannot be read, or has a line that is no setting.
    """
    own = read(file)
    hidden = {follower for name in own for follower in _FOLLOWERS.get(name, ())}
    seen = {name: value for name, value in machine.items() if value and name not in hidden}
    return {**seen, **own}


def read(file: Path) -> dict[str, str]:
    """What the file says; nothing where there is none. Raises as ``environ`` does."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise exception.InvalidError(f"the settings for builds in {file} cannot be read: {exc}") from exc
    return parse(text, file)


def parse(text: str, file: Path) -> dict[str, str]:
    """The settings in the text of such a file; later lines win. Raises ``InvalidError`` that names file and line."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("export ").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not _NAME.match(name):
            raise _wrong(file, number, "is no NAME=VALUE")
        try:
            found[name] = _value(value.strip())
        except ValueError as exc:
            raise _wrong(file, number, str(exc)) from None
    return found


def _value(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character")
    if text[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
    inside, quote, rest = text[1:].partition(text[0])
    if not quote:
        raise ValueError(f"lacks the closing {text[0]}")
    if rest.strip() and not rest.lstrip().startswith("#"):
        raise ValueError("goes on after its closing quote")
    return inside


def _wrong(file: Path, number: int, what: str) -> exception.InvalidError:
    # The line itself may hold a password, and errors end in logs.
    return exception.InvalidError(
        f"{file}, line {number}: it {what}", hint='Write NAME=VALUE or NAME="VALUE"; # begins a remark.'
    )
