"""Runs skopeo, which speaks to registries, in the machine's own network; says what its last words mean.

It gets passwords through an unnamed file in memory: never on its command line, never on a disk.
"""
from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker import outside, step
from windlass.worker.images import references, settings

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

_RETRIES = "3"  # after 1, 2 and 4 seconds
_RESERVE = 512 * 1024 * 1024  # bytes of the disk that no blob may take
_LINE = re.compile(r'^time="[^"]*" level=\w+ msg="((?:[^"\\]|\\.)*)"$')
_KEPT = (
    "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "SSL_CERT_DIR",
    "CONTAINERS_REGISTRIES_CONF",
)  # fmt: skip


class UnreachableError(exception.ImageBuildError):
    """The registry did not answer: another way to the same image may be tried."""


class Access(NamedTuple):
    """What a pull needs of this machine.

    ``place``: a folder on the disk of layers. ``namespace``: the user namespace mapped like a container's, or None.
    """

    outer: outside.Outside
    environ: Mapping[str, str]
    host: settings.Settings
    place: Path
    namespace: Path | None = None


async def run(
    verb: str,
    options: Sequence[str],
    place: references.Reference,
    *more: str,
    access: Access,
    scratch: Path,
    authfile: bytes | None,
    log: step.Log | None = None,
) -> str:
    """Run ``skopeo VERB OPTIONS docker://PLACE MORE`` and give what it says. Raises what its last words mean.

    ``scratch``: a folder for what it has to be told by files.
    """
    if shutil.which("skopeo") is None:
        raise exception.ImageBuildError(
            "images from registries need the program skopeo on this machine", hint="apt-get install skopeo"
        )
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(said(line))
        if log is not None:
            log(lines[-1])

    signing = [] if authfile is None else [f"--authfile={outside.INPUT}"]
    argv = [
        "prlimit", f"--fsize={_largest(access.place)}", "--", "skopeo", "--insecure-policy", "--override-os=linux",
        f"--override-arch={ARCHITECTURE}", f"--registries.d={_without_signatures(scratch)}",
        verb, *options, *signing, f"--retry-times={_RETRIES}", f"docker://{place}", *more,
    ]  # fmt: skip
    code = await access.outer.run(argv, env=environment(access), log=heard, data=authfile)
    text = "".join(lines)
    if code:
        raise failure(place, text, signed_in=authfile is not None)
    return text


def _without_signatures(scratch: Path) -> Path:
    """A folder of settings by which signatures lie nowhere: they are not asked for, and an ordinary user may not even
    look into the machine's folder of them."""
    folder = scratch / "registries.d"
    folder.mkdir(exist_ok=True)
    (folder / "none.yaml").write_text("default-docker:\n  sigstore: file:///nonexistent\n")
    return folder


def said(line: str) -> str:
    """A line of skopeo's as people read it."""
    found = _LINE.match(line.rstrip("\n"))
    if found is None:
        return line
    return found[1].replace('\\"', '"').replace("\\\\", "\\") + "\n"


def environment(access: Access) -> dict[str, str]:
    """What skopeo runs with: the machine's own settings, and nothing else of the worker's."""
    kept = {name: access.environ[name] for name in _KEPT if name in access.environ}
    proxies = {name: value for name, value in access.host.env.items() if name.lower().endswith("_proxy")}
    bundle = {} if access.host.bundle is None else {"SSL_CERT_FILE": str(access.host.bundle)}
    return {"HOME": "/", "LC_ALL": "C.UTF-8", **_runtime(), **kept, **proxies, **bundle}


def _runtime() -> dict[str, str]:
    """Where an ordinary user's logins lie; skopeo, who is 0 in the node, would look for those of the machine's root."""
    user = Path("/proc/self/uid_map").read_text().split()[1]
    return {} if user == "0" else {"XDG_RUNTIME_DIR": f"/run/user/{user}"}


def _largest(folder: Path) -> int:
    """Bytes that one file may have: a blob that grows without end while it is unzipped must not fill the disk."""
    return max(0, shutil.disk_usage(folder).free - _RESERVE)


class _Meaning(NamedTuple):
    """What words of skopeo's say about an image, and what to do."""

    words: str
    meaning: str
    hint: str


_MEANINGS = (
    _Meaning(
        r"no image found in (manifest list|image index)", f"has no variant for linux/{ARCHITECTURE}",
        "Choose an image that is built for this kind of machine.",
    ),
    _Meaning(
        r"HTTP response to HTTPS client", "is at a registry that speaks plain HTTP",
        "Name its host in WINDLASS_INSECURE_REGISTRIES if you trust the network in between.",
    ),
    _Meaning(
        r"x509|certificate", "is at a registry whose certificate this machine does not trust",
        "Set SSL_CERT_FILE, or put the certificate below /etc/containers/certs.d/.",
    ),
    _Meaning(
        r"no space left on device|file too large|[Dd]isk quota", "does not fit on this machine's disk",
        "Free some space.",
    ),
    _Meaning(
        r"[Dd]igest did not match|(digest|checksum)[^:]* (did not|does not|doesn't) match|digest verification"
        r"|invalid checksum|does not match [^:]*digest|corrupt|flate:|gzip:|zstd:|unexpected EOF|size mismatch",
        "is broken at the registry: what it sent does not have the digest that it should", "Push the image again.",
    ),
    _Meaning(
        r"[Tt]oo ?[Mm]any ?[Rr]equests", "was refused by its registry: too many pulls",
        "Wait, pass the secret of an account, or name a mirror in WINDLASS_REGISTRY_MIRRORS.",
    ),
    _Meaning(
        r"manifest unknown|name unknown|not found|name not known|[sS]tatus( code)?:? 404",
        "does not exist at its registry", "Look at the spelling of name and tag.",
    ),
)  # fmt: skip
_REFUSED = (
    r"unauthorized|authentication required|(?<!permission )denied|invalid username/password|forbidden"
    r"|[sS]tatus( code)?:? 40[13]"
)
_UNREACHABLE = (
    r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|Client\.Timeout|proxyconnect"
    r"|connection reset|handshake timeout|server misbehaving|: EOF|[sS]tatus( code)?:? 50[0234]|emporary failure"
    r"|deadline exceeded"
)
_WRAPPING = re.compile(r'^(Error parsing image name "[^"]*": |initializing source \S+: )+')


def failure(place: references.Reference, text: str, *, signed_in: bool) -> exception.ImageBuildError:
    """What the last words of skopeo mean. Pure."""
    words = next((line for line in reversed(text.strip().splitlines()) if line.strip()), "skopeo said nothing")
    reason = _WRAPPING.sub("", words)[:1000]
    telling = reason.replace(place.path, "").replace(place.digest or place.tag, "")  # a name may hold any word
    for known in _MEANINGS:
        if re.search(known.words, telling):
            return exception.ImageBuildError(f"{place} {known.meaning}: {reason}", hint=known.hint)
    if re.search(_REFUSED, telling):
        return _refused(place, reason, signed_in)
    if re.search(_UNREACHABLE, telling):
        return UnreachableError(
            f"the registry of {place} cannot be reached: {reason}",
            hint="Look at the network and proxy of this machine, or name a mirror in WINDLASS_REGISTRY_MIRRORS.",
        )
    return exception.ImageBuildError(f"{place} could not be pulled: {reason}")


def _refused(place: references.Reference, reason: str, signed_in: bool) -> exception.ImageBuildError:
    if signed_in:
        return exception.ImageBuildError(
            f"{place} was refused by its registry, the credentials are wrong or do not suffice: {reason}",
            hint="Look at the values of the registry secret.",
        )
    return exception.ImageBuildError(
        f"{place} was refused by its registry, which asks for credentials: {reason}",
        hint="Pass a secret with REGISTRY_USERNAME and REGISTRY_PASSWORD, or look at the spelling of the name.",
    )
