"""Reading into a buffer that stays: asyncio's transports make a new one of 256 KiB for each read, however little comes,
which the memory allocator gets and gives back by system calls and page faults. (uvloop has a buffer of its own.)
"""
from __future__ import annotations

import asyncio

_SIZE = 256 * 1024


class Buffered(asyncio.BufferedProtocol):
    """Makes a buffered protocol of one that has ``data_received``: ``class Mine(Other, Buffered)``."""

    _space: memoryview | None = None

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._space is None:
            self._space = memoryview(bytearray(_SIZE))
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        assert self._space is not None
        self.data_received(bytes(self._space[:nbytes]))

    def data_received(self, data: bytes) -> None:
        raise NotImplementedError
