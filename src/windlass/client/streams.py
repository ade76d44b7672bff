"""Where the streams of sandboxes come from and go to: output by offset, input by offset, so that both survive a lost
connection without a gap and without anything twice."""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from windlass import exception
from windlass.client import session

_PIECE = 1024 * 1024
_AHEAD = 3  # pieces that are asked for while one is handed out
_WAIT = 50.0


class ExecOutput:
    """Output of a command."""

    def __init__(self, sandbox_id: str, exec_id: str, source: str) -> None:
        self._body: dict[str, Any] = {"sandbox_id": sandbox_id, "exec_id": exec_id, "source": source, "most": _PIECE}

    async def pieces(self, offset: int) -> AsyncGenerator[bytes, None]:
        """From ``offset`` to the end. While pieces come full, more are asked for ahead."""
        owned = session.current().tasks
        while True:
            data, eof = await self._read(offset, _WAIT)
            if data:
                yield data
            offset += len(data)
            if eof:
                return
            if len(data) < _PIECE:
                continue
            asked = [owned.start(self._read(offset + n * _PIECE, 0.0), "output ahead") for n in range(_AHEAD)]
            try:
                while asked:
                    data, eof = await asked.pop(0)
                    if data:
                        yield data
                    offset += len(data)
                    if eof:
                        return
                    if len(data) < _PIECE:
                        break
                    ahead = offset + len(asked) * _PIECE
                    asked.append(owned.start(self._read(ahead, 0.0), "output ahead"))
            finally:
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

    async def _read(self, offset: int, seconds: float) -> tuple[bytes, bool]:
        body = {**self._body, "offset": offset, "seconds": seconds}
        reply = await session.current().request("sandbox.exec_read", body)
        return (reply.attachments[0] if reply.attachments else b""), reply.body["eof"]


class EntryOutput:
    """Output of a sandbox's own command, from its log."""

    def __init__(self, sandbox_id: str, source: str) -> None:
        self._body = {"sandbox_id": sandbox_id, "source": source}

    async def pieces(self, offset: int) -> AsyncGenerator[bytes, None]:
        """From ``offset`` (in bytes) to the end."""
        patience = session.Patience()
        while True:
            seen = 0  # a lost connection means to begin anew, and to pass over what was handed out
            try:
                async with contextlib.aclosing(session.current().stream("sandbox.output", self._body)) as replies:
                    async for reply in replies:
                        text = "".join([entry["text"] for entry in reply.body["entries"]])
                        data = text.encode("utf-8", "surrogatepass")
                        known, seen = offset - seen, seen + len(data)
                        if seen > offset:
                            offset = seen
                            yield data[max(0, known) :]
                return
            except exception.ServiceError as exc:
                await patience.wait(exc)


class Input:
    """The input of a command (with ``exec_id``), or of a sandbox's own."""

    def __init__(self, sandbox_id: str, exec_id: str = "") -> None:
        self._method = "sandbox.exec_write" if exec_id else "sandbox.stdin"
        self._body: dict[str, Any] = {"sandbox_id": sandbox_id, **({"exec_id": exec_id} if exec_id else {})}
        self._offset = 0
        self._order = asyncio.Lock()

    async def send(self, data: bytes, *, eof: bool) -> None:
        """Returns when it is written."""
        async with self._order:
            for start in range(0, len(data), _PIECE):
                piece = data[start : start + _PIECE]
                body = {**self._body, "offset": self._offset}
                await session.current().request(self._method, body, [piece])
                self._offset += len(piece)
            if eof:
                await session.current().request(self._method, {**self._body, "offset": self._offset, "eof": True})
