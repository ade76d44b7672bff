"""A hint that something changed. Setting it twice is the same as once."""

from __future__ import annotations

import asyncio


class Signal:
    """One loop waits, anybody sets."""

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._set = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout: float) -> None:
        """Return when it was set, or after ``timeout`` seconds.

        (``asyncio.wait_for`` may swallow a cancellation that comes together with the event, before Python 3.12.)
        """
        if not self._set:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self._set = False
