"""Giving back what a container holds: when its life is over, but not when only the worker's is.

Cancellation means that the worker ends. Then the container goes on, and the next worker adopts what is still held.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


@contextlib.contextmanager
def on_end(give_back: Callable[[], object]) -> Iterator[None]:
    """Call ``give_back`` on leaving, except by cancellation."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException:
        give_back()
        raise
    else:
        give_back()


@contextlib.asynccontextmanager
async def on_end_async(give_back: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """The same for what takes time."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException:
        await give_back()
        raise
    else:
        await give_back()
