"""Package archives of this machine in the place of the public ones: while an image is built, not in the image.

Images name Debian's public archives. A step is shown the same files with this machine's mirrors in them, in a layer
that lies over the image's; passwords go into a file that only apt reads and that no layer has.
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from windlass import exception
from windlass.worker.images import cache, configured, sources, stack

FILES = (
    "etc/apt/sources.list", "etc/apt/sources.list.d/debian.sources", "etc/apt/sources.list.d/ubuntu.sources",
)  # fmt: skip
"""Where images name their archives, below their root."""

_ADDRESS = re.compile(r"https?://[^\s\]]+")
_GONE = "windlass-has-no-such-archive:"


def machine(environ: Mapping[str, str], texts: Iterable[str]) -> list[sources.Mirror]:
    """The mirrors that count: of the machine's apt sources ``texts``, and before them ``WINDLASS_APT_MIRROR``.

    Raises ``InvalidError`` where that variable holds no address.
    """
    found = sources.mirrors(texts)
    words = environ.get(configured.APT_MIRROR, "").split()
    if not words:
        return found
    if len(words) > 2 or not all(_ADDRESS.fullmatch(word) for word in words):
        raise exception.InvalidError(
            f"{configured.APT_MIRROR} must be one or two http addresses",
            hint=f"Such as {configured.APT_MIRROR}=http://mirror.example/debian",
        )
    distribution = sources.UBUNTU if "ubuntu" in words[0] else sources.DEBIAN
    main = words[0].rstrip("/")
    security = words[-1].rstrip("/") if len(words) == 2 else f"{main}-security" if main.endswith("/debian") else main
    keyring = next((mirror.keyring for mirror in found if mirror.distribution is distribution), "")
    if not keyring and Path(distribution.keyring).exists():
        keyring = distribution.keyring
    chosen = sources.Mirror(distribution, main, security, keyring)
    return [chosen, *(mirror for mirror in found if mirror.distribution is not distribution)]


def rewritten(text: str, mirrors: Sequence[sources.Mirror]) -> str:
    """A sources file of an image, in either format, with ``mirrors`` for the public archives.

    What a mirror does not have (it may lack the security archive) is left out.
    """
    places = {
        public: open_address(getattr(mirror, part)) or _GONE
        for mirror in mirrors
        for public, part in mirror.distribution.public.items()
        if mirror[1:3] != mirror.public()[1:3]
    }

    def replaced(found: re.Match[str]) -> str:
        address = urlsplit(found.group())
        return places.get(f"{address.netloc}{address.path}".rstrip("/"), found.group())

    seen = _ADDRESS.sub(replaced, text)
    if _GONE not in seen:
        return seen
    separator = "\n\n" if re.search("^types:", seen, re.IGNORECASE | re.MULTILINE) else "\n"
    return separator.join(part for part in seen.split(separator) if _GONE not in part).rstrip("\n") + "\n"


def layer(layers: Sequence[Path], mirrors: Sequence[sources.Mirror], folder: Path) -> list[Path]:
    """What to lay over ``layers`` during a step, made in ``folder``: nothing, or one more layer."""
    made = False
    for name in FILES:
        text = stack.read(layers, PurePosixPath("/") / name).decode(errors="surrogateescape")
        if (seen := rewritten(text, mirrors)) != text:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(seen, errors="surrogateescape")
            made = True
    if not made:
        return []
    for path in (folder, *folder.rglob("*")):
        os.chown(path, cache.CONTAINER_ROOT, cache.CONTAINER_ROOT)
        path.chmod(0o755 if path.is_dir() else 0o644)
    return [folder]


def open_address(uri: str) -> str:
    """``uri`` without name and password."""
    address = urlsplit(uri)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl() if "@" in address.netloc else uri


def opened(mirror: sources.Mirror) -> sources.Mirror:
    """``mirror`` without names and passwords."""
    return mirror._replace(main=open_address(mirror.main), security=open_address(mirror.security))


def passwords(mirrors: Iterable[sources.Mirror], folder: Path = Path("/etc/apt")) -> str:
    """The text of an ``auth.conf``: what this machine's apt knows (in ``folder``), and what ``mirrors`` say."""
    files = [folder / "auth.conf", *sorted((folder / "auth.conf.d").glob("*.conf"))]
    lines = [file.read_text(errors="replace").rstrip("\n") for file in files if _readable(file)]
    for uri in dict.fromkeys(uri for mirror in mirrors for uri in (mirror.main, mirror.security)):
        address = urlsplit(uri)
        if address.username is not None:
            login, password = unquote(address.username), unquote(address.password or "")
            lines.append(f"machine {open_address(uri)} login {login} password {password}")
    return "".join(f"{line}\n" for line in lines if line)


def _readable(file: Path) -> bool:
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False
