"""``debian_slim`` through a registry: the official image of that Python, and the tools on top.

It is asked for before anything is made from a mirror of Debian (``base``), because it exists for every Python. Both
ways lead to the same key. Whether a registry answers is decided in seconds, and a refusal is remembered for a while.
"""
from __future__ import annotations

import time
from collections.abc import Mapping

from windlass import exception
from windlass.worker import step
from windlass.worker.images import cache, references, registry, script, skopeo

CMD = ["sleep", str(48 * 3600)]
"""What a sandbox of this image runs when it is given no command."""

_PLACE = "docker.io/library"
_SUITE = "bookworm"
_DEADLINE = 6.0  # seconds for a registry to answer
_REMEMBERED = 600.0  # seconds that one which did not is left alone
_NEVER = (-_REMEMBERED, "")

_TOOLS = """
set -e
echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections
apt-get update -q
apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io \
  gcc gfortran build-essential ca-certificates netbase tzdata
apt-get clean
rm -rf /var/lib/apt/lists/*
python -m pip install --quiet --no-cache-dir --no-input --root-user-action=ignore --upgrade pip wheel uv
"""


def empty() -> cache.Record:
    """What a ``debian_slim`` that is made here stands on."""
    return {"layers": [], "env": {}, "workdir": "", "entrypoint": [], "python": "", "size": 0, "cmd": CMD}


def check(record: cache.Record, series: str) -> None:
    """Raise ``ImageBuildError`` where the image that a registry gave is not what its name says."""
    if record["python"] != series:
        found = f"Python {record['python']}" if record["python"] else "no Python"
        raise exception.ImageBuildError(
            f"the registry's image for Python {series} has {found}",
            hint="Look at the mirror in WINDLASS_REGISTRY_MIRRORS, or set WINDLASS_BASE_REGISTRY=off.",
        )


def commands() -> list[script.Command]:
    """What makes an official image of Python a ``debian_slim``."""
    return [script.Command(["/bin/sh", "-c", _TOOLS], "the tools of debian_slim")]


class Slim:
    """Asks the registry that ``WINDLASS_BASE_REGISTRY`` names ("off": none), docker.io's by default."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str], tuple[float, str]] = {}

    def why_not(self, series: str, environ: Mapping[str, str]) -> str:
        """Why the last ``pulled`` gave nothing."""
        if _place(environ) == "off":
            return "WINDLASS_BASE_REGISTRY is off"
        return self._refused.get(_way(series, environ), (0.0, ""))[1]

    async def pulled(
        self, series: str, *, layers: cache.Layers, draft: cache.Draft, access: skopeo.Access, log: step.Log
    ) -> cache.Record | None:
        """The official image; None where no registry has it for us. Raises ``ImageBuildError`` for a broken one."""
        way = name, _ = _way(series, access.environ)
        if _place(access.environ) == "off" or time.monotonic() - self._refused.get(way, _NEVER)[0] < _REMEMBERED:
            return None
        try:
            await _answers(name, access)
            record = await registry.pull(name, layers=layers, draft=draft, access=access, log=log)
        except (skopeo.UnreachableError, exception.ExecutionError) as exc:
            self._refused[way] = (time.monotonic(), str(exc))
            log(f"{exc}\n")
            return None
        return {**record, "cmd": CMD}


def _place(environ: Mapping[str, str]) -> str:
    return environ.get("WINDLASS_BASE_REGISTRY", "").strip().strip("/") or _PLACE


def _way(series: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The image's name, and the mirrors that would be asked."""
    return f"{_place(environ)}/python:{series}-slim-{_SUITE}", environ.get("WINDLASS_REGISTRY_MIRRORS", "")


def impossible(series: str, why_not: str, made: exception.ImageBuildError) -> exception.ImageBuildError:
    """The error where neither way leads to that Python. ``made``: why it cannot be made here."""
    return exception.ImageBuildError(
        f"{made}; and no registry gave it: {why_not}",
        hint=f"{made.hint} For Python {series}, let this machine reach docker.io, or name a mirror of it in "
        "WINDLASS_REGISTRY_MIRRORS.",
    )


async def _answers(name: str, access: skopeo.Access) -> None:
    """Raise ``UnreachableError`` where no place of that image answers for it in time."""
    reference, network = references.parse(name), references.network(access.environ)
    reasons = []
    for place in network.places(reference):
        verify = f"--tls-verify={str(not network.trusts(place)).lower()}"
        argv = ["skopeo", "--insecure-policy", "inspect", "--raw", "--no-tags", verify, f"docker://{place}"]
        said: list[str] = []
        try:
            code = await access.outer.run(argv, env=skopeo.environment(access), log=said.append, timeout=_DEADLINE)
        except exception.TimeoutError:
            code, said = 1, [f"no answer within {_DEADLINE:g} s"]
        if not code:
            return
        reasons.append(str(skopeo.failure(place, "".join(map(skopeo.said, said)), signed_in=False)))
    raise skopeo.UnreachableError("; ".join(reasons))
