"""Which local files an app is made of: those that `windlass serve` watches."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from windlass import exception

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.client import mount
    from windlass.image import Image

_OTHERS = ("site-packages", "dist-packages")


class Watched(NamedTuple):
    """Single files, and folders with all that is below."""

    files: list[str]
    trees: list[str]


def of(app: App, root: Path) -> Watched:
    """What the app's functions and images hold, and the modules below ``root`` that its program has imported."""
    files = set(_modules(root))
    trees: set[str] = set()
    for path in _paths(app):
        (trees if path.is_dir() else files).add(str(path.absolute()))
    return Watched(sorted(files), sorted(trees))


def _paths(app: App) -> Iterator[Path]:
    images: dict[int, Image] = {}
    for function in app._functions.values():
        image = app._image_for(function)
        images[id(image)] = image
        for mount in function._source.mounts() if function._source is not None else ():
            yield from _sources(mount)
    for image in images.values():
        for mount in (*image._mounts, *(step.mount for step in image._steps if step.mount is not None)):
            yield from _sources(mount)
        for step in image._steps:
            for requirements in step.requirements:
                yield Path(requirements)


def _sources(mount: mount.Mount) -> Iterator[Path]:
    for source in mount.sources:
        try:
            yield source.watched()
        except (exception.Error, OSError):
            continue  # it is missing: loading the app says so


def _modules(root: Path) -> Iterator[str]:
    """Files of the user's own modules. What they hold may decide what the app is."""
    inside = str(root.resolve())
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path and not any(other in path for other in _OTHERS) and str(Path(path).resolve()).startswith(inside):
            yield str(Path(path).absolute())
