"""A hint that something changed. Setting it twice is the same as once."""

from __future__ import annotations

import asyncio


class Signal:
    """One loop waits, anybody sets."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> None:
        """Return when it was set, or after ``timeout`` seconds."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except asyncio.TimeoutError:
            pass
        self._event.clear()
