"""A file that is read while the connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from windlass import exception
from windlass.client import downloads, session
from windlass.wire import peer


class _Session:
    """Version 7 is the newest when somebody begins to read, and version 8 afterwards. The first connection breaks."""

    def __init__(self) -> None:
        self.asked: list[tuple[int | None, int]] = []

    async def stream(self, method: str, body: Any, attachments: Any) -> AsyncIterator[peer.Reply]:
        self.asked.append((body.get("at"), body["offset"]))
        content = {7: b"old", 8: b"NEW"}[body.get("at", 7 if len(self.asked) == 1 else 8)]
        said = {"size": 3, "at": 7 if content == b"old" else 8}
        yield peer.Reply(said, [b""])
        if len(self.asked) == 1:
            yield peer.Reply(said, [content[:1]])
            raise exception.ServiceError("the connection was lost")
        yield peer.Reply(said, [content[body["offset"] :]])


def test_who_goes_on_reading_reads_the_version_that_it_began_with(monkeypatch):
    home = _Session()
    monkeypatch.setattr(session, "current", lambda: home)

    async def read() -> bytes:
        return b"".join([piece async for piece in downloads.pieces("vo-1", "file")])

    assert asyncio.run(read()) == b"old", "not the half of one and the half of the other"
    assert home.asked == [(None, 0), (7, 1)]
