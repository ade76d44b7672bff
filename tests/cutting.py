"""A stretch of network between a client and a server that can be slow, break, or swallow everything."""
from __future__ import annotations

import asyncio
import contextlib


class Stretch:
    """Listens on loopback and passes bytes on to ``port``, each ``delay`` seconds later.

    While it is ``cut`` it swallows what comes, both ways, and accepts connections without an answer, like a cable that
    was pulled out. ``breaks()`` resets all connections. ``refuse``: what is answered to requests that hold such bytes.
    ``most``: bytes after which it is cut.
    """

    def __init__(
        self, port: int, delay: float = 0.0, refuse: dict[bytes, bytes] | None = None, most: float = float("inf")
    ) -> None:
        self.target = port
        self.delay = delay
        self.refuse = refuse or {}
        self.most = most
        self.cut = False
        self.port = 0
        self.made = 0
        self.seen = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()

    async def __aenter__(self) -> Stretch:
        self._server = await asyncio.start_server(self._came, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.breaks()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def breaks(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        self._writers.add(writer)
        if self.cut:
            return
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(far_writer)
            for source, sink, is_there in ((reader, far_writer, True), (far_reader, writer, False)):
                task = asyncio.get_running_loop().create_task(self._pass(source, sink, writer, is_there=is_there))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, near: asyncio.StreamWriter, *, is_there: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await source.read(256 * 1024):
                if self.cut:
                    continue
                self.seen += len(data)
                self.cut = self.cut or self.seen > self.most
                if is_there and (answer := next((text for key, text in self.refuse.items() if key in data), None)):
                    near.write(answer)
                    break
                if self.delay:
                    loop.call_later(self.delay, self._put, sink, data)
                else:
                    sink.write(data)
                    await sink.drain()
        if not self.cut:
            loop.call_later(self.delay, sink.close)

    def _put(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        if not self.cut and not sink.transport.is_closing():
            sink.write(data)
