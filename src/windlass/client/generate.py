"""Generators: items are read ahead of the consumer, and only so far.

When ``AHEAD`` items wait for the consumer the stream is given up, so that the server holds the producer back; when
half of them are taken it is opened again behind the last item. So an endless generator costs no endless memory.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from windlass import exception
from windlass.client import invoke, outputs, session
from windlass.wire import codec
from windlass.wire.messages import calls

if TYPE_CHECKING:
    from windlass.function import Function

AHEAD = 1024
"""Items that may wait for the consumer."""


async def generate(function: Function[..., Any, Any], data: bytes) -> AsyncGenerator[Callable[[], Any], None]:
    """Run one generator input; yields its items as they come."""
    home = session.current()
    create, attachments = await invoke.describe(home, function, "gen", data)
    reader = _Reader(home, create, attachments)
    task = home.tasks.start(reader.read(), "generator items")
    try:
        async for arrived in reader.arrivals():
            yield arrived.open
    finally:
        task.cancel()
        if not reader.ended:
            home.post_request("call.cancel", {"call_id": create["call_id"]})


class _Reader:
    """Reads the stream in the background into ``_waiting``."""

    def __init__(self, home: session.Session, create: calls.CallCreate, attachments: list[codec.Bytes]) -> None:
        self._home = home
        self._create = create
        self._attachments = attachments
        self._query: calls.OutputQuery = {"call_id": create["call_id"], "after": 0, "items_after": 0}
        self._waiting: deque[outputs.Arrived] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._seen = 0
        self._failure: BaseException | None = None
        self.ended = False
        """Whether the generator's end, or its failure, has arrived."""

    async def read(self) -> None:
        create: calls.CallCreate | None = self._create
        try:
            while not self.ended:
                stream = outputs.follow(self._home, self._query, create, self._attachments)
                create = None
                async with contextlib.aclosing(stream) as batches:
                    async for batch, received in batches:
                        for output in batch["outputs"]:
                            self._take(await outputs.unpack(self._home, output, received))
                        self._news.set()
                        if self.ended or len(self._waiting) >= AHEAD:
                            break
                while len(self._waiting) > AHEAD // 2 and not self.ended:
                    self._room.clear()
                    await self._room.wait()
        except Exception as exc:  # noqa: BLE001 - raised again where the consumer waits
            self._failure = exc
        self._news.set()

    async def arrivals(self) -> AsyncGenerator[outputs.Arrived, None]:
        """What has arrived, in order; ends with the generator."""
        while True:
            while self._waiting:
                arrived = self._waiting.popleft()
                self._room.set()
                yield arrived
            if self._failure is not None:
                raise self._failure
            if self.ended:
                return
            self._news.clear()
            await self._news.wait()

    def _take(self, arrived: outputs.Arrived) -> None:
        output = arrived.output
        if output["status"] == "item":
            if output["item"] >= self._seen:  # else sent again after a reconnect
                self._seen = output["item"] + 1
                self._waiting.append(arrived)
            return
        self.ended = True
        if output["status"] != "success":
            self._waiting.append(arrived)
        elif output.get("items", self._seen) != self._seen:
            self._failure = exception.DataLossError(f"{output['items']} items were sent, {self._seen} arrived")
