"""Names of images in registries: what they mean, and where to ask for them. Pure."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple

from windlass import exception

HUB = "docker.io"
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 255


class Reference(NamedTuple):
    """``digest`` is "" where only a tag is named; a digest says all, so ``tag`` is then "" ."""

    host: str
    path: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" + (f"@{self.digest}" if self.digest else f":{self.tag}")

    @property
    def loopback(self) -> bool:
        """Whether its registry is on this machine."""
        name = self.host.rpartition(":")[0] if re.search(r":[0-9]+$", self.host) else self.host
        try:
            return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False


def parse(text: str) -> Reference:
    """The image that ``text`` names, as docker reads it: registry and tag may be left out.

    Raises:
        InvalidError: it is no name of an image.
    """
    if not isinstance(text, str):
        raise exception.InvalidError(f"an image's name is a string, not {type(text).__name__}")
    rest = text.removeprefix("docker://")
    rest, at, digest = rest.partition("@")
    first, slash, tail = rest.partition("/")
    host, path = (first, tail) if slash and (set(first) & set(".:[") or first == "localhost") else (HUB, rest)
    path, colon, tag = path.partition(":")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = HUB
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    right = _HOST.fullmatch(host) and _PATH.fullmatch(path) and len(path) <= _LONGEST
    if not right or (colon and not _TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
        raise exception.InvalidError(
            f"{text[:300]!r} does not name an image of a registry",
            hint='Names look like "python:3.12-slim", "registry.example.com/team/app:1" or "app@sha256:…".',
        )
    return Reference(host, path, "" if digest else tag or "latest", digest)


class Network(NamedTuple):
    """How registries are reached. ``insecure``: hosts whose certificate does not matter; ``mirrors``: asked first."""

    insecure: frozenset[str]
    mirrors: Mapping[str, tuple[str, ...]]

    def trusts(self, reference: Reference) -> bool:
        """Whether its registry may speak plain HTTP or show any certificate."""
        return reference.loopback or reference.host in self.insecure

    def places(self, reference: Reference) -> list[Reference]:
        """Where to ask, in order."""
        found = []
        for mirror in self.mirrors.get(reference.host, ()):
            host, _, above = mirror.partition("/")
            found.append(reference._replace(host=host, path="/".join(filter(None, [above, reference.path]))))
        return [*found, reference]


def network(environ: Mapping[str, str]) -> Network:
    """From ``WINDLASS_INSECURE_REGISTRIES="host:port,…"`` and ``WINDLASS_REGISTRY_MIRRORS="docker.io=host:port,…"``.

    Raises:
        InvalidError: a setting cannot be read.
    """
    mirrors: dict[str, tuple[str, ...]] = {}
    for item in _listed(environ, "WINDLASS_REGISTRY_MIRRORS"):
        host, equals, mirror = (part.strip().rstrip("/") for part in item.partition("="))
        name, slash, above = mirror.partition("/")
        right = equals and _HOST.fullmatch(host) and _HOST.fullmatch(name)
        if not right or (slash and not _PATH.fullmatch(above)):
            raise exception.InvalidError(
                f"WINDLASS_REGISTRY_MIRRORS holds {item!r}", hint='It looks like "docker.io=mirror.example.com:5000".'
            )
        mirrors[host] = (*mirrors.get(host, ()), mirror)
    return Network(frozenset(_listed(environ, "WINDLASS_INSECURE_REGISTRIES")), mirrors)


def _listed(environ: Mapping[str, str], name: str) -> list[str]:
    return [item.strip() for item in environ.get(name, "").split(",") if item.strip()]
