"""Where packages of a base come from: the machine's own apt sources, read in both of their formats."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Distribution(NamedTuple):
    """A family of releases. ``pythons``: which release ships which Python. ``main`` and ``security`` stand in where a
    machine names no mirror; "" where only machines of this distribution can have it. ``public``: what its images name
    by themselves, without scheme, as the main or the security archive."""

    name: str
    pythons: Mapping[str, str]
    suites: frozenset[str]
    components: str
    keyring: str
    public: Mapping[str, str]
    main: str = ""
    security: str = ""


DEBIAN = Distribution(
    "debian",
    {"3.11": "bookworm", "3.13": "trixie"},
    frozenset({"bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable"}),
    "main",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    {
        "deb.debian.org/debian": "main", "ftp.debian.org/debian": "main",
        "deb.debian.org/debian-security": "security", "security.debian.org/debian-security": "security",
        "security.debian.org": "security",
    },
    "http://deb.debian.org/debian",
    "http://deb.debian.org/debian-security",
)

UBUNTU = Distribution(
    "ubuntu",
    {"3.10": "jammy", "3.12": "noble"},
    frozenset({"focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute"}),
    "main universe",
    "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
    {"archive.ubuntu.com/ubuntu": "main", "security.ubuntu.com/ubuntu": "security"},
)


class Mirror(NamedTuple):
    """``security`` is "" where the machine names none; ``keyring`` lies on this machine, "" where there is none."""

    distribution: Distribution
    main: str
    security: str
    keyring: str

    def entries(self, release: str) -> list[tuple[str, str]]:
        """Pairs of URI and suite that make up ``release``."""
        entries = [(self.main, release), (self.main, f"{release}-updates")]
        return [*entries, (self.security, f"{release}-security")] if self.security else entries

    def public(self) -> Mirror:
        """The same archives by the names that everybody knows. This is what images are to say."""
        names = {part: f"http://{place}" for place, part in reversed([*self.distribution.public.items()])}
        return self._replace(main=names["main"], security=names["security"])


def mirrors(texts: Iterable[str]) -> list[Mirror]:
    """Mirrors that this machine can use, from the text of its apt sources."""
    entries = [entry for text in texts for entry in _sources(text)]
    found = [_mirror(distribution, entries) for distribution in (DEBIAN, UBUNTU)]
    return [mirror for mirror in found if mirror.main]


def _mirror(distribution: Distribution, entries: Iterable[_Entry]) -> Mirror:
    main = security = keyring = ""
    for entry in entries:
        for release in entry.suites:
            name, _, part = release.replace("/", "-").partition("-")
            if name not in distribution.suites or "main" not in entry.components:
                continue
            if part == "security" or (part == "updates" and "security" in entry.uri):
                security = security or entry.uri
            elif not part:
                main, keyring = main or entry.uri, keyring or entry.keyring
    keyring = keyring or (distribution.keyring if Path(distribution.keyring).exists() else "")
    if main:
        return Mirror(distribution, main, security, keyring)
    return Mirror(distribution, distribution.main, distribution.security, keyring)


def machine_sources(folder: Path = Path("/etc/apt")) -> list[str]:
    """The texts of this machine's apt sources."""
    listed = folder / "sources.list.d"
    files = [folder / "sources.list", *sorted(listed.glob("*.sources")), *sorted(listed.glob("*.list"))]
    return [file.read_text(errors="replace") for file in files if file.is_file() and os.access(file, os.R_OK)]


class _Entry(NamedTuple):
    """One line or stanza; ``keyring`` as a path, or ""."""

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
