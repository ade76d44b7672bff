"""Two connections made one: what comes in here goes out there, both ways, each end by itself."""
from __future__ import annotations

import asyncio
import contextlib

from windlass.kit import tasks

_CHUNK = 65536


async def both_ways(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader, far_writer: asyncio.StreamWriter,
) -> None:  # fmt: skip
    """Until both sides have said all, or one of them breaks. Closes the far one."""
    with contextlib.closing(far_writer):
        async with tasks.Tasks(lambda name, exc: None) as both:  # what breaks is seen at the ends
            ways = [both.start(_pass(reader, far_writer), "there"), both.start(_pass(far_reader, writer), "back")]
            await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
