"""What is installed in an image: read from its layers, nothing of it is run.

    Debian's packages     the topmost /var/lib/dpkg/status, and files of /var/lib/dpkg/status.d
    Python's              each ``*.dist-info`` and ``*.egg-info`` that no later layer took away
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from windlass.wire.messages import images
from windlass.worker.images import stack

_STATUS = Path("var/lib/dpkg/status")
_STATUS_FOLDER = Path("var/lib/dpkg/status.d")
_SITES = ("site-packages", "dist-packages")
_ENDS = (".dist-info", ".egg-info")
_NOT_SEARCHED = frozenset({"proc", "sys", "dev", "__pycache__", "node_modules", ".git"})
_HEAD = 65536  # bytes of a metadata file that hold its name and version


def read(layers: Sequence[Path]) -> images.Inventory:
    """The packages of an image. ``layers``: its layer folders, bottom first."""
    return {"debian": _debian(layers), "python": _python(layers)}


def _debian(layers: Sequence[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in _status_files(layers):
        for stanza in file.read_text("utf-8", "replace").split("\n\n"):
            fields = _fields(stanza)
            if fields.get("package") and "deinstall" not in fields.get("status", ""):
                found[fields["package"]] = fields.get("version", "")
    return dict(sorted(found.items()))


def _status_files(layers: Sequence[Path]) -> Iterator[Path]:
    if (whole := stack.find(layers, _STATUS)) is not None and whole.is_file():
        yield whole
    for name in sorted({entry.name for layer in layers for entry in _listed(layer / _STATUS_FOLDER)}):
        one = stack.find(layers, _STATUS_FOLDER / name)
        if one is not None and one.is_file() and not name.endswith(".md5sums"):
            yield one


def _listed(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except OSError:
        return []


def _python(layers: Sequence[Path]) -> dict[str, str]:
    places = {place for layer in layers for place in _distributions(os.fspath(layer), "")}
    found: dict[str, str] = {}
    for place in sorted(places):
        for name in ("METADATA", "PKG-INFO", ""):
            file = stack.find(layers, Path(place) / name)
            if file is not None and file.is_file():
                with file.open("rb") as opened:
                    fields = _fields(opened.read(_HEAD).decode("utf-8", "replace").partition("\n\n")[0])
                if fields.get("name"):
                    found[_normal(fields["name"])] = fields.get("version", "")
                break
    return dict(sorted(found.items()))


def _distributions(layer: str, inside: str) -> Iterator[str]:
    """Folders (or files) that describe an installed distribution, in one layer."""
    try:
        entries = list(os.scandir(f"{layer}/{inside}"))
    except OSError:
        return
    in_site = inside.rpartition("/")[2] in _SITES
    for entry in entries:
        path = f"{inside}/{entry.name}".lstrip("/")
        if in_site:
            if entry.name.endswith(_ENDS):
                yield path
        elif entry.name not in _NOT_SEARCHED and entry.is_dir(follow_symlinks=False):
            yield from _distributions(layer, path)


def _fields(stanza: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in stanza.splitlines() if ":" in line and not line.startswith((" ", "\t")))
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _normal(name: str) -> str:
    """One spelling for names that mean the same distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
