"""Which images have which layers, and how much of each is shared. Pure sums over rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple


class Image(NamedTuple):
    """``layers``: ids of the images that made them, bottom first. ``size``: bytes of its own layer."""

    parent: str | None
    layers: tuple[str, ...]
    size: int


class Sharing:
    """Of all images together."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._images = images
        self._holders = Counter(layer for image in images.values() for layer in image.layers)

    def total(self, image_id: str) -> int:
        """Bytes of all its layers."""
        return sum(self._size(layer) for layer in self._images[image_id].layers)

    def shared(self, image_id: str) -> int:
        """Bytes of its layers that other images have too: what stays when it is removed."""
        return sum(self._size(layer) for layer in self._images[image_id].layers if self._holders[layer] > 1)

    def chain(self, image_id: str) -> list[str]:
        """The steps from the base to this one, as far as they are known."""
        found: list[str] = []
        step: str | None = image_id
        while step is not None and step in self._images and step not in found:
            found.append(step)
            step = self._images[step].parent
        return found[::-1]

    def others(self, layer: str, chain: Collection[str]) -> int:
        """How many images have ``layer`` and do not belong to ``chain``."""
        return sum(1 for other, image in self._images.items() if layer in image.layers and other not in chain)

    def common(self, image_id: str, chain: Collection[str]) -> Iterator[tuple[str, int]]:
        """(image, bytes both have) of all images outside of ``chain`` that share a layer."""
        own = set(self._images[image_id].layers)
        for other, image in self._images.items():
            if other not in chain and (both := own.intersection(image.layers)):
                yield other, sum(self._size(layer) for layer in both)

    def tops(self) -> set[str]:
        """Images that no other one stands on."""
        return set(self._images) - {image.parent for image in self._images.values() if image.parent is not None}

    def _size(self, layer: str) -> int:
        image = self._images.get(layer)
        return image.size if image is not None else 0
