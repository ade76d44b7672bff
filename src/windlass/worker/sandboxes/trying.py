"""Levels as the worker offers them. What is remembered is offered at once; the rest is tried while the worker serves
already, so that no level, and no broken program of one, makes a platform start later.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from windlass.kit import tasks
from windlass.worker.sandboxes import levels, sentry, starting
from windlass.worker.sandboxes.vm import parts

_log = logging.getLogger(__name__)


class Offer:
    """``root``: the home as the node names it."""

    def __init__(self, root: Path, starter: starting.Starting) -> None:
        self._root = root
        self._starter = starter
        self._known = levels.recall(root)
        self._tasks = tasks.Tasks(_failed)
        self._trial: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Offer:
        lacks = self._known.lacks(sentry.LEVEL)  # what failed may do better now
        if (sentry.installed() is not None and lacks) or not parts.hope():
            self._trial = self._tasks.start(self._try(), "trial of what isolates sandboxes")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why each level is not here, "" where it is, or may be."""
        return self._known.reasons

    @property
    def known(self) -> levels.Levels:
        return self._known

    async def tried(self, level: str) -> levels.Levels:
        """The same, when what is only hoped for of ``level`` has been tried."""
        if self._trial is not None and self._known.lacks(level):
            await asyncio.wait([self._trial])
        return self._known

    async def _try(self) -> None:
        self._known = await levels.look(self._root, self._starter, known=self._known)
        for name, why in self._known.reasons.items():
            _log.info("sandboxes as %s: %s", name, why or "work")


def _failed(name: str, exc: BaseException) -> None:
    _log.warning("%s: %s", name, exc)
