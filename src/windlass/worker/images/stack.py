"""The folders that a container's root is stacked from."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from windlass.worker.images import cache


def lowers(home: Path, image_id: str, mounts: Iterable[Path] = ()) -> list[Path]:
    """Lower folders, bottom first: the image's layers, then the trees of the mounts in their order.

    Raises ``NotFoundError`` where the image is not on this machine.
    """
    layers = cache.Layers(home)
    return [layers.files(layer) for layer in layers.read(image_id)["layers"]] + list(mounts)
