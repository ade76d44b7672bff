"""Which images to remove: those that nothing uses, the longest unused ones first. Pure.

An image stands on its parent and on its layers. What is used keeps all that it stands on; and since only those go that
nothing stands on any more, what remains is always whole.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

_RESERVE_SHARE = 20  # one part in so many of the disk is to stay free
_RESERVE_MOST = 5 * 1024**3
_DISK_SHARE = 0.6
_FRESH = 3600.0


class Image(NamedTuple):
    """``layers``: names of folders, its own among them if it has one. ``known``: whether the server has a row."""

    parent: str | None
    layers: tuple[str, ...]
    used_at: float
    known: bool = True


class Rule(NamedTuple):
    """What shall go, of what nothing uses."""

    before: float = -math.inf
    """What was used last before this moment; ``unknown_before``: of those that the server does not know."""
    unknown_before: float = -math.inf
    budget: float = math.inf
    """The longest unused ones, until all layers together take no more bytes than this."""
    fresh: float = math.inf
    """But nothing that was used after this moment."""


class Removal(NamedTuple):
    """``size``: bytes that become free with it."""

    image_id: str
    size: int


def removals(
    images: Mapping[str, Image], sizes: Mapping[str, int], *, in_use: Collection[str], rule: Rule
) -> list[Removal]:
    """What to remove, in this order. ``sizes``: of all layers that are stored; the others are not removed either."""
    kept, last = _grounds(images, in_use), _last_uses(images)
    heights = {image_id: len(_grounds(images, [image_id])) for image_id in images}
    order = sorted(images.keys() & sizes.keys() - kept, key=lambda one: (last[one], -heights[one], one))
    holders = Counter(layer for one, image in images.items() for layer in {one, *image.layers})
    stored, found = sum(sizes.values()), []
    for image_id in order:
        if image_id in kept:
            continue
        known = images[image_id].known
        old = last[image_id] < (rule.before if known else max(rule.before, rule.unknown_before))
        if last[image_id] > rule.fresh or not (old or stored > rule.budget):
            kept |= _grounds(images, [image_id])
            continue
        layers = {image_id, *images[image_id].layers}
        holders.subtract(layers)
        freed = sum(sizes.get(layer, 0) for layer in layers if not holders[layer])
        stored -= freed
        found.append(Removal(image_id, freed))
    return found


def automatic(*, now: float, keep: float, unknown: float, budget: int, stored: int, disk: int, free: int) -> Rule:
    """The rule for removal without being asked: by age, by budget (0: a share of the disk), and when space runs out."""
    limit = budget or int(disk * _DISK_SHARE)
    reserve = min(disk // _RESERVE_SHARE, _RESERVE_MOST)
    if free < reserve:
        limit = min(limit, max(0, stored - (reserve - free)))
    return Rule(before=now - keep, unknown_before=now - unknown, budget=limit, fresh=now - _FRESH)


def damaged(records: Mapping[str, Iterable[str]], broken: Collection[str]) -> set[str]:
    """``broken`` layers, and all images that stand on one of them. ``records``: the layers of each image."""
    return {*broken, *(image for image, layers in records.items() if not set(broken).isdisjoint(layers))}


def _stands_on(images: Mapping[str, Image], image_id: str) -> set[str]:
    image = images[image_id]
    below = {*image.layers, image.parent or ""} - {image_id}
    return below & images.keys()


def _grounds(images: Mapping[str, Image], image_ids: Iterable[str]) -> set[str]:
    """``image_ids`` and everything below them."""
    found: set[str] = set()
    waiting = [image_id for image_id in image_ids if image_id in images]
    while waiting:
        image_id = waiting.pop()
        if image_id not in found:
            found.add(image_id)
            waiting += _stands_on(images, image_id)
    return found


def _last_uses(images: Mapping[str, Image]) -> dict[str, float]:
    """When each was used last, by itself or by what stands on it."""
    last = {image_id: image.used_at for image_id, image in images.items()}
    for image_id, image in images.items():
        for below in _grounds(images, [image_id]):
            last[below] = max(last[below], image.used_at)
    return last
