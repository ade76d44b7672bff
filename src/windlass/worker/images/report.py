"""What builds see of this machine's settings, where each came from, and what is wrong with it: for `windlass doctor`.

Passwords are masked: people paste what doctor says.
"""
from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from windlass import exception
from windlass.worker.images import configured, machine, relay, settings, sources

_REGISTRIES = ("WINDLASS_REGISTRY_MIRRORS", "WINDLASS_INSECURE_REGISTRIES")
_OURS = (configured.APT_MIRROR, *_REGISTRIES)
_PREFIXES = ("PIP_", "UV_", "WINDLASS_", "DOCKER_", "REGISTRY_")
_PIP = ("index_url", "extra_index_url", "find_links", "trusted_host", "proxy", "no_index")
_UV = (
    "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INSECURE_HOST",
    "UV_INDEX_STRATEGY",
)  # fmt: skip
_PATIENCE = 1.0  # seconds that something on loopback may take to accept
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PASSWORD = re.compile(r"(://)[^/\s@]+@")


class Item(NamedTuple):
    """``problem``: what to do about it, "" where nothing is wrong."""

    name: str
    detail: str
    problem: str = ""


class Sight(NamedTuple):
    """Where to look. ``environ``: of the worker, or of who would start it; ``whose``: that in words.

    ``own``: the file of Windlass' own settings. ``shell``: the environment of who asks.
    """

    environ: Mapping[str, str]
    whose: str
    own: Path
    shell: Mapping[str, str] = {}


def items(sight: Sight) -> list[Item]:
    """Everything, in the order in which it is looked at."""
    try:
        own = configured.read(sight.own)
        found = machine.look(sight.own, sight.environ)
    except exception.Error as exc:
        return [Item("build settings", str(exc), exc.hint or "Correct that file.")]
    origin = _Origin(own, sight)
    parts: tuple[Callable[[machine.Machine, _Origin], Iterator[Item]], ...] = (
        _own, _shell, _proxies, _certificates, _pip, _uv, _apt, _registries,
    )  # fmt: skip
    return [item for part in parts for item in part(found, origin)]


def masked(value: str) -> str:
    """``value`` without names and passwords in its addresses.

    Example:
        >>> masked("https://me:secret@pypi.example/simple")
        'https://***@pypi.example/simple'
    """
    return _PASSWORD.sub(r"\1***@", value)


class _Origin:
    """Says where a setting came from, and what all of them have in common."""

    def __init__(self, own: Mapping[str, str], sight: Sight) -> None:
        self.own = own
        self.sight = sight

    def of(self, name: str) -> str:
        if name in self.own:
            return str(self.sight.own)
        return f"{name} in {self.sight.whose}"

    def reach(self, value: str) -> str:
        """What to do about addresses on this machine's loopback, which are passed on to steps."""
        silent = [place for place in sorted(relay.places([value])) if not _listens(place)]
        shown = ", ".join(f"{place.host}:{place.port}" for place in silent)
        return f"Nothing listens at {shown} of this machine: start it, or correct the setting." if silent else ""


def _listens(place: relay.Place) -> bool:
    try:
        with socket.create_connection(place, timeout=_PATIENCE):
            return True
    except OSError:
        return False


def _own(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    if not origin.own:
        return
    known = {"HOME", *configured.PROXIES, *(name.upper() for name in configured.PROXIES), *configured.BUNDLES, *_OURS}
    strange = [name for name in origin.own if name not in known and not name.startswith(_PREFIXES)]
    problem = f"Builds do nothing with {', '.join(strange)}: is that a slip of the pen?" if strange else ""
    yield Item("build settings", f"{len(origin.own)} in {origin.sight.own}", problem)


def _shell(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    """Who sets a variable and asks why builds do not see it."""
    shell, worker = origin.sight.shell, origin.sight.environ
    names = {name for name in (*shell, *worker) if _counts(name) and name not in origin.own}
    other = sorted(name for name in names if shell and shell.get(name, "") != worker.get(name, ""))
    if other:
        yield Item(
            "build environment",
            f"{', '.join(other)}: not as in this shell, for builds see the environment of {origin.sight.whose}",
            f"Write what builds shall see into {origin.sight.own}, or: windlass server restart",
        )


def _counts(name: str) -> bool:
    return name.lower() in configured.PROXIES or name in configured.BUNDLES or name.startswith(("PIP_", "UV_", *_OURS))


def _proxies(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    seen: set[tuple[str, str]] = set()
    for name in (spelled for plain in configured.PROXIES for spelled in (plain, plain.upper())):
        value = found.environ.get(name, "")
        if value and (name.lower(), value) not in seen:
            seen.add((name.lower(), value))
            problem = "" if name.lower() == "no_proxy" else origin.reach(value)
            yield Item(name.lower(), f"{masked(value)} (from {origin.of(name)})", problem)


def _certificates(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    named = [(name, found.environ.get(name, ""), origin.of(name)) for name in configured.BUNDLES]
    named.append(("cert", found.pip.get("cert", ""), "pip's configuration"))
    for _, path, where in named:
        if path and not os.access(path, os.R_OK):
            gone = "does not exist" if not Path(path).exists() else "cannot be read"
            yield Item("certificates", f"{path} {gone} (from {where})", "Name a file with certificates in PEM format.")
    chosen = settings.bundle(found.environ, found.pip)
    if chosen is None:
        yield Item("certificates", "none on this machine; images use their own", "")
        return
    where = next((where for _, path, where in named if path == str(chosen)), "the system's")
    try:
        count = chosen.read_bytes().count(_CERTIFICATE)
    except OSError as exc:
        yield Item("certificates", f"{chosen} cannot be read: {exc.strerror}", "Let the worker's user read it.")
        return
    problem = "" if count else "A bundle has certificates in PEM format; nothing will be trusted."
    yield Item("certificates", f"{count} in {chosen} (from {where})", problem)


def _pip(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    for name in _PIP:
        variable = f"PIP_{name.upper()}"
        value = found.environ.get(variable, found.pip.get(name, ""))
        if value:
            where = origin.of(variable) if variable in found.environ else "pip's configuration"
            problem = "" if name == "trusted_host" else origin.reach(value) or _gone(value)
            yield Item(f"pip {name.replace('_', '-')}", f"{masked(value)} (from {where})", problem)


def _gone(value: str) -> str:
    missing = [word for word in value.split() if (path := settings.local_path(word)) is not None and not path.exists()]
    return f"Left out of builds, because it does not exist: {', '.join(missing)}" if missing else ""


def _uv(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    binary = settings.uv_binary()
    yield Item("uv", str(binary) if binary else "not installed: pip does the work, and is slower", "")
    for name in _UV:
        if value := found.environ.get(name, ""):
            yield Item(f"uv {name}", f"{masked(value)} (from {origin.of(name)})", origin.reach(value))


def _apt(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    for mirror in found.mirrors:
        own = found.environ.get(configured.APT_MIRROR, "")
        where = f"from {origin.of(configured.APT_MIRROR)}" if mirror.main in own else "from this machine's apt sources"
        if mirror.main == mirror.public().main and not own:
            where = "as everybody"
        addresses = [uri for uri in (mirror.main, mirror.security) if uri]
        problem = next((reach for uri in addresses if (reach := origin.reach(uri))), "")
        detail = f"{' and '.join(map(masked, addresses))} ({where})"
        yield Item(f"apt mirror of {mirror.distribution.name}", detail, problem or _scheme(mirror))
    for line in found.apt:
        name, _, value = line.partition(" ")
        if name.lower().endswith("::proxy") and value.strip('";'):
            yield Item("apt proxy", f"{masked(line.rstrip(';'))} (from this machine's apt)", origin.reach(value))


def _scheme(mirror: sources.Mirror) -> str:
    if urlsplit(mirror.main).scheme in ("http", "https"):
        return ""
    return f"Steps reach http and https only: set {configured.APT_MIRROR} in {configured.FILE}."


def _registries(found: machine.Machine, origin: _Origin) -> Iterator[Item]:
    for name in _REGISTRIES:
        if value := found.environ.get(name, ""):
            shown = "registry mirrors" if name == _REGISTRIES[0] else "registries without TLS"
            yield Item(shown, f"{masked(value)} (from {origin.of(name)})")
