"""``debian_slim``: made from the machine's own package mirror, in a user namespace mapped like a container's.

mmdebstrap unpacks the release of Debian (or, on a machine that runs it, of Ubuntu) that ships the Python asked for; a
script then makes it what programs expect: ``python`` and ``pip`` as commands, a pip that may install, package sources
for later steps, no caches.
"""
from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker.images import archives, settings, sources

_PACKAGES = (
    "python3", "python3-venv", "python3-dev", "build-essential", "gfortran", "ca-certificates", "netbase", "tzdata",
)  # fmt: skip
_DROPPED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
_KEPT = ("/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias")


class Release(NamedTuple):
    """What to unpack, and from where."""

    suite: str
    mirror: sources.Mirror


def release(python: str, mirrors: Sequence[sources.Mirror]) -> Release:
    """The release with that Python. Raises ``ImageBuildError`` that names what is possible on this machine."""
    for mirror in mirrors:
        if suite := mirror.distribution.pythons.get(python):
            return Release(suite, mirror)
    raise exception.ImageBuildError(
        f"debian_slim with Python {python} cannot be built on this machine: its mirrors have {possible(mirrors)}",
        hint=f"Choose one of these, such as Image.debian_slim(\"{_offered(mirrors)[0][0]}\").",
    )


def possible(mirrors: Sequence[sources.Mirror]) -> str:
    """What releases of this machine's mirrors ship, as people read it."""
    return ", ".join(f"{version} ({suite})" for version, suite in _offered(mirrors))


def _offered(mirrors: Sequence[sources.Mirror]) -> list[tuple[str, str]]:
    return sorted((version, suite) for mirror in mirrors for version, suite in mirror.distribution.pythons.items())


def command(target: Path, release: Release, *, options: Path, finish: Path) -> list[str]:
    """The command line that fills the empty folder ``target``. No password is in it: everybody may read it.

    ``options``: a file with options of apt (``apt_options``). ``finish``: the program written by ``finishing``.

    Raises ``ImageBuildError`` where mmdebstrap is missing.
    """
    drops = [f"--dpkgopt=path-exclude={pattern}" for pattern in _DROPPED]
    drops += [f"--dpkgopt=path-include={pattern}" for pattern in _KEPT]
    how = ["--variant=minbase", *drops, "--dpkgopt=force-unsafe-io", f"--customize-hook={finish}"]
    return _mmdebstrap(target, release, _PACKAGES, how, options=options)


def extraction(target: Path, release: Release, packages: Sequence[str], *, options: Path) -> list[str]:
    """The command line that unpacks ``packages`` and what they need into ``target``, without installing them."""
    return _mmdebstrap(target, release, packages, ["--variant=extract"], options=options)


def _mmdebstrap(
    target: Path, release: Release, packages: Sequence[str], how: Sequence[str], *, options: Path
) -> list[str]:
    if shutil.which("mmdebstrap") is None:
        raise exception.ImageBuildError(
            "images from a mirror of Debian need the program mmdebstrap on this machine",
            hint="apt-get install mmdebstrap",
        )
    return [
        "mmdebstrap", "--mode=root", "--format=directory", f"--include={','.join(packages)}", *how,
        f"--aptopt={options}", release.suite, str(target), *_lines(release),
    ]  # fmt: skip


def _lines(release: Release) -> list[str]:
    mirror = archives.opened(release.mirror)
    signed = f"[signed-by={mirror.keyring}] " if mirror.keyring else ""
    return [
        f"deb {signed}{uri} {suite} {mirror.distribution.components}" for uri, suite in mirror.entries(release.suite)
    ]


def finishing(release: Release, *, uv: Path) -> str:
    """A program over the new tree ("$1"), run by mmdebstrap at the end. ``uv`` becomes a command, where it exists."""
    mirror = release.mirror.public()
    stanzas = "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {mirror.distribution.components}\n"
        f"Signed-By: {mirror.distribution.keyring}\n"
        for uri, suite in mirror.entries(release.suite)
    )
    excludes = "".join(f"path-exclude {pattern}\n" for pattern in _DROPPED)
    includes = "".join(f"path-include {pattern}\n" for pattern in _KEPT)
    wheels = "/usr/share/python-wheels"
    inside = (
        f"python3 $(ls {wheels}/pip-*.whl)/pip install --quiet --no-index --find-links {wheels} --no-cache-dir"
        " --root-user-action=ignore pip setuptools"
    )
    files = {
        f"etc/apt/sources.list.d/{mirror.distribution.name}.sources": stanzas,
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


def apt_options(host: settings.Settings, *, folder: Path) -> str:
    """The machine's apt options with the paths of this side. ``folder``: what ``settings.read`` prepared."""
    lines = [line.replace(settings.PLACE, str(folder)) for line in host.apt]
    return "\n".join([*lines, 'Acquire::Languages "none";', 'Acquire::Retries "3";', ""])
