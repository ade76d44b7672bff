"""Who uses which image or mount here and now: what is held is not removed.

A container holds its image from before it reads the record until its mounts are gone, a build its parent and whatever
its recipe names. All of it happens in the worker's one event loop: a removal looks and renames without
a pause in between, so whoever holds first wins, and whoever comes later finds the image gone and says so.
"""
from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable, Iterator

from windlass.kit import ids
from windlass.wire.messages import images, workers


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
    def of_build(self, plan: workers.BuildPlan) -> Iterator[None]:
        """Keep the parent of a build, and whatever image or mount its recipe names."""
        recipe, parent = plan["recipe"], plan["parent"]
        self.building += 1
        try:
            with self.of(*named([recipe, parent], _mounts(recipe))):
                yield
        finally:
            self.building -= 1

    def held(self) -> frozenset[str]:
        return frozenset(self._held)


def _mounts(recipe: images.Recipe) -> list[str]:
    """Digests of all manifests that a recipe names."""
    function = recipe.get("function")
    found = [recipe.get("mount", ""), *(bind["mount"] for bind in recipe.get("binds", []))]
    return [digest for digest in (*found, *(function["mounts"] if function else ())) if digest]


def named(uses: object, mounts: Iterable[str]) -> list[str]:
    """What a plan uses, by the names that folders have: every image that ``uses`` names, and mounts by digest."""
    return [*ids.within(uses, "im"), *(digest.removeprefix("sha256:") for digest in mounts)]
