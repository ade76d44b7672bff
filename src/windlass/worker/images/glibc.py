"""The GNU C library: which one programs ask for, and which one an image has."""
from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from windlass.worker.images import stack

Version = tuple[int, int]

_LEAST = (2, 17)  # what every image with one has: older ones run no Python that anybody adds
_ASKED = re.compile(rb"GLIBC_(\d+)\.(\d+)[.\d]*\0")
_RELEASE = re.compile(rb"GNU C Library[^\n]* version (\d+)\.(\d+)")


def asked(tree: Path) -> Version:
    """The newest version that a program or library below ``tree`` asks for: with any older one it does not start."""
    found = [_LEAST]
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink() and _is_binary(path):
            found += ((int(major), int(minor)) for major, minor in _ASKED.findall(path.read_bytes()))
    return max(found)


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def of(layers: Sequence[Path]) -> Version | None:
    """The version in an image; None where it has none."""
    for place in _places("libc.so.6"):
        if match := _RELEASE.search(stack.read(layers, place)):
            return int(match[1]), int(match[2])
    return None


def is_musl(layers: Sequence[Path]) -> bool:
    """Whether the image has the other C library that Linux images are made with."""
    return stack.find(layers, PurePosixPath(f"/lib/ld-musl-{platform.machine()}.so.1")) is not None


def has(layers: Sequence[Path], library: str) -> bool:
    """Whether programs of an image find a library of that name beside the C library."""
    return any(stack.find(layers, place) is not None for place in _places(library))


def _places(name: str) -> Iterator[PurePosixPath]:
    for folder in (f"lib/{platform.machine()}-linux-gnu", "lib64", "lib"):
        for root in ("/", "/usr"):
            yield PurePosixPath(root, folder, name)
