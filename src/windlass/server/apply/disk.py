"""Whether the disk of the home has room: looked at each second, and once more before anything is refused for it."""

from __future__ import annotations

import os

from windlass import exception
from windlass.server.apply import core as core_module

_LOW = 64 * 1024 * 1024  # bytes that must be left
Core = core_module.Core


def look(core: Core) -> None:
    """Note in ``core.low_disk`` why nothing more is taken; "" where there is room."""
    free = os.statvfs(core.settings.home)
    left = free.f_bavail * free.f_frsize
    core.low_disk = (
        ""
        if left >= _LOW
        else f"the disk of the server is full: {left / 1048576:,.0f} MiB are left at {core.settings.home}"
    )


def check(core: Core) -> None:
    """Raises ``ResourceExhaustedError`` where the disk is full; somebody may have made room since it was looked at."""
    if core.low_disk:
        look(core)
    if core.low_disk:
        raise exception.ResourceExhaustedError(core.low_disk, hint="Free space on that disk and try again.")
