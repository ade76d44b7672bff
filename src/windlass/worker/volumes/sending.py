"""Listings and files on their way to whoever asked, piece by piece as fast as they are taken."""
from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator

from windlass.wire import payload
from windlass.wire import peer as peers
from windlass.wire.messages import volumes as messages
from windlass.worker.volumes import reading

_BATCH = 2000  # entries of a listing in one message
_TOGETHER = 500  # small files in one message


async def listing(incoming: peers.Incoming, entries: Iterator[reading.Entry]) -> None:
    """Answer with entries, and end."""
    while batch := await asyncio.to_thread(lambda: list(itertools.islice(entries, _BATCH))):
        body: messages.VolumeEntries = {
            "kinds": [one.kind for one in batch], "mtimes": [one.mtime for one in batch],
            "sizes": [one.size for one in batch],
        }  # fmt: skip
        incoming.item(body, [os.fsencode(one.path) for one in batch])
        await incoming.peer.drain()
    incoming.end()


async def gathered(incoming: peers.Incoming, files: Iterator[reading.Small]) -> None:
    """Answer with small files, as they are found, and end."""
    while batch := await asyncio.to_thread(_together, files):
        body: messages.VolumeGathered = {
            "files": [number for number, data in batch if data is not None],
            "left": [number for number, data in batch if data is None],
        }
        incoming.item(body, [data for _, data in batch if data is not None])
        await incoming.peer.drain()
    incoming.end()


def _together(files: Iterator[reading.Small]) -> list[reading.Small]:
    """The next of them, as many as one message should have."""
    batch: list[reading.Small] = []
    size = 0
    for number, data in files:
        batch.append((number, data))
        size += len(data or b"")
        if size >= payload.CHUNK or len(batch) >= _TOGETHER:
            break
    return batch


def _unchecked(number: int, piece: bytes) -> None:
    """Of a file that nobody has committed."""


async def file(
    incoming: peers.Incoming, descriptor: int, offset: int, wanted: int, check: reading.Check = _unchecked
) -> None:
    """Answer with the bytes of an open file, and end. ``wanted`` -1: all from ``offset`` on."""
    size = os.fstat(descriptor).st_size
    incoming.item({"size": size}, [b""])
    end = size if wanted < 0 else min(size, offset + wanted)
    while offset < end:
        number, begun = divmod(offset, reading.PIECE)
        piece = await asyncio.to_thread(_piece, descriptor, number, check)
        if not (data := piece[begun : begun + end - offset]):
            break
        incoming.item({"size": size}, [data])
        offset += len(data)
        await incoming.peer.drain()
    incoming.end()


def _piece(descriptor: int, number: int, check: reading.Check) -> bytes:
    piece = os.pread(descriptor, reading.PIECE, number * reading.PIECE)
    check(number, piece)
    return piece
