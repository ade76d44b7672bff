"""Keeps a step from filling the disk that the platform lives on."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from windlass import exception
from windlass.kit import tasks

T = TypeVar("T")

RESERVE = 256 * 1024 * 1024
"""Bytes that steps leave free. The server takes no new work when less than its own, smaller reserve is left."""

_EVERY = 0.2  # seconds between two looks; a look costs some microseconds


def free(folder: Path) -> int:
    """Bytes that may still be written below ``folder``."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


async def guarded(work: Coroutine[None, None, T], folder: Path, *, left: Callable[[Path], int] = free) -> T:
    """Await ``work``, which writes below ``folder``; cancel it when the disk is nearly full.

    Raises:
        ResourceExhaustedError: less than ``RESERVE`` bytes were left.
    """
    async with tasks.Tasks(lambda name, exc: None) as owner:  # its failure is raised here
        task: asyncio.Task[T] = owner.start(work, "a build step, while there is space")
        while True:
            if (now := left(folder)) < RESERVE:
                raise exception.ResourceExhaustedError(
                    f"the disk of Windlass' home is full: {now / 2**20:,.0f} MiB are left, and build steps "
                    f"must leave {RESERVE / 2**20:,.0f} MiB free",
                    hint="Free space on that disk and try again.",
                )
            if await asyncio.wait({task}, timeout=_EVERY) and task.done():
                return await task
