"""File descriptors and the event loop."""
from __future__ import annotations

import asyncio


async def ready(descriptor: int, *, writing: bool = False) -> None:
    """Wait until ``descriptor`` can be read (or written) without blocking."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def act() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if writing else loop.add_reader)(descriptor, act)
    try:
        await future
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(descriptor)
