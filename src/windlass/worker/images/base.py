"""``debian_slim``: made from the machine's own Debian mirror, in a user namespace mapped like a container's.

mmdebstrap unpacks the suite that ships the Python asked for; a script then makes it what programs expect: ``python``
and ``pip`` as commands, a pip that may install, package sources for later steps, no caches.
"""
from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker.images import settings

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Which Debian ships which Python."""

_RELEASES = frozenset({"bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable"})
_MIRROR = "http://deb.debian.org/debian"
_SECURITY = "http://deb.debian.org/debian-security"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGES = (
    "python3", "python3-venv", "python3-dev", "build-essential", "gfortran", "ca-certificates", "netbase", "tzdata",
)  # fmt: skip
_DROPPED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
_KEPT = ("/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias")


class Mirror(NamedTuple):
    """Where Debian comes from. ``security`` "" where the machine names none; ``keyring`` on this machine."""

    main: str
    security: str
    keyring: str


def suite(python: str) -> str:
    """The Debian release with that Python. Raises ``ImageBuildError``."""
    try:
        return SUITES[python]
    except KeyError:
        possible = ", ".join(f"{version} ({release})" for version, release in SUITES.items())
        raise exception.ImageBuildError(
            f"debian_slim with Python {python} cannot be built on this machine: Debian ships {possible}",
            hint=f"Choose one of these, such as Image.debian_slim(\"{next(iter(SUITES))}\").",
        ) from None


def command(target: Path, python: str, *, mirror: Mirror, apt: Sequence[str], finish: Path) -> list[str]:
    """The command line that fills the empty folder ``target``. ``finish``: the program written by ``finishing``.

    Raises ``ImageBuildError`` where no release has that Python or mmdebstrap is missing.
    """
    release = suite(python)
    if shutil.which("mmdebstrap") is None:
        raise exception.ImageBuildError(
            "debian_slim needs the program mmdebstrap on this machine", hint="apt-get install mmdebstrap"
        )
    drops = [f"--dpkgopt=path-exclude={pattern}" for pattern in _DROPPED]
    drops += [f"--dpkgopt=path-include={pattern}" for pattern in _KEPT]
    return [
        "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
        f"--include={','.join(_PACKAGES)}",
        *(f"--aptopt={line.rstrip(';')}" for line in apt), '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "3"', *drops, "--dpkgopt=force-unsafe-io",
        f"--customize-hook={finish}",
        release, str(target), *(_one_line(entry, mirror.keyring) for entry in _entries(release, mirror)),
    ]  # fmt: skip


def mirror(texts: Iterable[str]) -> Mirror:
    """The machine's Debian mirror, from the text of its apt sources; Debian's own where it has none."""
    main = security = keyring = ""
    for entry in (entry for text in texts for entry in _sources(text)):
        for release in entry.suites:
            name, _, part = release.replace("/", "-").partition("-")
            if name not in _RELEASES or "main" not in entry.components:
                continue
            if part in ("security", "updates") and "security" in release + entry.uri:
                security = security or entry.uri
            elif not part:
                main, keyring = main or entry.uri, keyring or entry.keyring
    keyring = keyring or (_KEYRING if Path(_KEYRING).exists() else "")
    return Mirror(main or _MIRROR, security or ("" if main else _SECURITY), keyring)


def machine_sources(folder: Path = Path("/etc/apt")) -> list[str]:
    """The texts of this machine's apt sources."""
    listed = folder / "sources.list.d"
    files = [folder / "sources.list", *sorted(listed.glob("*.sources")), *sorted(listed.glob("*.list"))]
    return [file.read_text(errors="replace") for file in files if file.is_file() and os.access(file, os.R_OK)]


class _Entry(NamedTuple):
    uri: str
    suites: list[str]
    components: list[str]
    keyring: str


def _sources(text: str) -> Iterator[_Entry]:
    """Entries of a sources file, whichever of the two formats it has."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    if any(line.lower().startswith("types:") for line in lines):
        for stanza in "\n".join(lines).split("\n\n"):
            yield from _stanza(stanza)
        return
    for line in lines:
        options, words = _options(line.split())
        if len(words) >= 4 and words[0] == "deb":
            yield _Entry(words[1].rstrip("/"), [words[2]], words[3:], options.get("signed-by", ""))


def _stanza(text: str) -> Iterator[_Entry]:
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
        return
    suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
    keyring = fields.get("signed-by", "")
    for uri in fields.get("uris", "").split():
        yield _Entry(uri.rstrip("/"), suites, components, keyring if keyring[:1] == "/" else "")


def _options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    if len(words) < 2 or not words[1].startswith("["):
        return {}, words
    end = next((at for at, word in enumerate(words) if word.endswith("]")), len(words) - 1)
    pairs = " ".join(words[1 : end + 1]).strip("[] ").split()
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair), [words[0], *words[end + 1 :]]


def _entries(release: str, mirror: Mirror) -> list[tuple[str, str]]:
    entries = [(mirror.main, release), (mirror.main, f"{release}-updates")]
    return [*entries, (mirror.security, f"{release}-security")] if mirror.security else entries


def _one_line(entry: tuple[str, str], keyring: str) -> str:
    signed = f"[signed-by={keyring}] " if keyring else ""
    return f"deb {signed}{entry[0]} {entry[1]} main"


def finishing(python: str, *, mirror: Mirror, uv: Path) -> str:
    """A program over the new tree ("$1"), run by mmdebstrap at the end. ``uv`` becomes a command, where it exists."""
    release = suite(python)
    sources = "\n\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {name}\nComponents: main\nSigned-By: {_KEYRING}"
        for uri, name in _entries(release, mirror)
    )
    excludes = "".join(f"path-exclude {pattern}\n" for pattern in _DROPPED)
    includes = "".join(f"path-include {pattern}\n" for pattern in _KEPT)
    wheels = "/usr/share/python-wheels"
    inside = (
        f"python3 $(ls {wheels}/pip-*.whl)/pip install --quiet --no-index --find-links {wheels} --no-cache-dir"
        " --root-user-action=ignore pip setuptools"
    )
    files = {
        "etc/apt/sources.list.d/debian.sources": sources + "\n",
        "etc/apt/apt.conf.d/90windlass": 'Acquire::Languages "none";\nAcquire::GzipIndexes "true";\n',
        "etc/dpkg/dpkg.cfg.d/90windlass": excludes + includes,
    }
    write = [f"printf %s {shlex.quote(text)} > \"$1/{name}\"" for name, text in files.items()]
    return "\n".join([
        "#!/bin/sh -e",
        'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
        f'chroot "$1" sh -c {shlex.quote(inside)}',
        'test -e "$1/usr/local/bin/python" || ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
        'test -e "$1/usr/local/bin/pip" || ln -s pip3 "$1/usr/local/bin/pip"',
        'rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
        *write,
        f'test ! -e {shlex.quote(str(uv))} || install -m 755 {shlex.quote(str(uv))} "$1/usr/local/bin/uv"',
        'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/log/*.log "$1"/var/log/apt "$1"/root/.cache',
        'rm -f "$1/etc/resolv.conf" "$1/etc/hostname" "$1/var/cache/ldconfig/aux-cache"',
        ': > "$1/etc/resolv.conf"; : > "$1/etc/hosts"; : > "$1/etc/hostname"',
        "",
    ])  # fmt: skip


def environment(host: settings.Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What mmdebstrap runs with: the machine's programs, its proxies, nobody's questions."""
    proxies = {name: value for name, value in host.env.items() if name.lower().endswith("_proxy")}
    path = environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    return {"PATH": path, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **proxies}


def apt_options(host: settings.Settings) -> list[str]:
    """The machine's apt options with the paths of this side."""
    inside = f"{settings.PLACE}/ca.pem"
    return [line.replace(inside, str(host.bundle)) for line in host.apt]
