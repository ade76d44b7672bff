"""Who uses which image or mount here and now: what is held is not removed.

A container holds its image from before it reads the record until its mounts are gone, a build its parent and whatever
its recipe names. All of it happens in the worker's one event loop: a removal looks and renames without
a pause in between, so whoever holds first wins, and whoever comes later finds the image gone and says so.
"""
from __future__ import annotations

import collections
import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

_IMAGE = re.compile(r"im-[0-9A-Za-z]{22}\Z")
_MOUNT = re.compile(r"sha256:([0-9a-f]{64})\Z")


class Holds:
    """What containers, builds and exports of this worker use."""

    def __init__(self) -> None:
        self._held: collections.Counter[str] = collections.Counter()
        self.building = 0
        """Builds under way: they may count on layers that no record lists yet."""

    @contextlib.contextmanager
    def of(self, *names: str) -> Iterator[None]:
        """Keep images, and with them the layers that they stand on, or mounts."""
        self._held.update(names)
        try:
            yield
        finally:
            self._held.subtract(names)
            self._held += collections.Counter()  # forgets what is down to nothing

    @contextlib.contextmanager
    def of_build(self, *of: Any) -> Iterator[None]:
        """Keep all that the parts of a build's plan name."""
        self.building += 1
        try:
            with self.of(*named(of)):
                yield
        finally:
            self.building -= 1

    def held(self) -> frozenset[str]:
        return frozenset(self._held)


def named(value: Any) -> list[str]:
    """What a message names, wherever it stands: images by id, mounts by the names of their folders."""
    if isinstance(value, str):
        mount = _MOUNT.match(value)
        return [mount[1]] if mount else [value] if _IMAGE.match(value) else []
    if isinstance(value, dict):
        value = value.values()
    return [found for one in value for found in named(one)] if isinstance(value, Iterable) else []
