"""What this machine, and Windlass' own settings over it, say of the way to packages. Read anew for each build."""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from windlass.worker.images import archives, configured, relay, settings, sources


class Machine(NamedTuple):
    """``environ``: the environment that counts. ``pip``, ``apt``: what configuration files say."""

    environ: Mapping[str, str]
    pip: Mapping[str, str]
    apt: tuple[str, ...]
    mirrors: list[sources.Mirror]


class Host(NamedTuple):
    """A machine, ready for a step: with ``settings`` for its environment and mounts."""

    environ: Mapping[str, str]
    settings: settings.Settings
    mirrors: list[sources.Mirror]

    def loopback(self) -> set[relay.Place]:
        """What is named on this machine's loopback."""
        values = [value for name, value in self.settings.env.items() if name.lower() != "no_proxy"]
        archive = [uri for mirror in self.mirrors for uri in (mirror.main, mirror.security)]
        return relay.places([*values, *self.settings.apt, *archive])

    def passwords(self) -> set[str]:
        """What must not be read in a log: passwords in addresses of proxies, indexes and archives."""
        archive = [uri for mirror in self.mirrors for uri in (mirror.main, mirror.security)]
        words = [word for value in (*self.settings.env.values(), *archive) for word in re.split(r"[\s,]+", value)]
        found = {password for word in words if (password := _password(word))}
        return found | {unquote(password) for password in found}


def _password(address: str) -> str:
    try:
        return urlsplit(address).password or "" if "@" in address else ""
    except ValueError:
        return ""


def look(own: Path, environ: Mapping[str, str]) -> Machine:
    """What counts now. ``own``: the file of Windlass' own settings. Raises ``InvalidError`` where that is malformed."""
    seen = configured.environ(own, environ)
    mirrors = archives.machine(seen, sources.machine_sources())
    return Machine(seen, settings.pip_config(seen), settings.apt_config(), mirrors)


def prepare(folder: Path, own: Path, environ: Mapping[str, str]) -> Host:
    """``look``, with what steps need of it put into ``folder``. Raises as ``look`` does."""
    found = look(own, environ)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    settings.stage_programs(folder)
    passwords = archives.passwords(found.mirrors)
    read = settings.read(folder, found.environ, pip=found.pip, apt=found.apt, passwords=passwords)
    return Host(found.environ, read, found.mirrors)
