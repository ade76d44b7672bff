"""Makes one layer: a recipe on top of its parent."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from windlass.wire.messages import workers
from windlass.worker import container


class Trees(Protocol):
    """Materialised mount manifests (``worker.mounts.Mounts``)."""

    async def tree(self, digest: str) -> Path:
        """The folder with the files of manifest ``digest``."""


class Builder:
    """Makes layers below ``home``."""

    def __init__(self, home: Path, *, steps: container.Steps, mounts: Trees) -> None:
        self._home = home
        self._steps = steps
        self._mounts = mounts

    async def build(self, plan: workers.BuildPlan, log: Callable[[str], None]) -> workers.ImageMeta:
        """Make the layer of ``plan``. Raises ``ImageBuildError`` with the failing command and the log's tail."""
        raise NotImplementedError
