"""Numbers for operations that are repeated when the connection is lost: the server answers a repeated one with what it
did the first time.
"""
from __future__ import annotations

import contextlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from windlass.client import session
    from windlass.wire import codec, peer


class Numbers:
    """Of one process's connection."""

    def __init__(self) -> None:
        self._last = 0
        self._open: dict[int, int] = {}  # how many want the answer still, with the lowest number first

    @contextlib.contextmanager
    def one(self) -> Iterator[dict[str, int]]:
        """The fields ``op`` and ``low`` of a message; its answer is not needed any more when the block is left."""
        fields = self.open()
        try:
            yield fields
        finally:
            self.close(fields)

    def open(self) -> dict[str, int]:
        """The same, until ``close``."""
        self._last = number = self._last + 1
        self._open[number] = 1
        return {"op": number, "low": next(iter(self._open))}

    def hold(self, fields: dict[str, int]) -> None:
        """One more wants the answer of a number that is open, and will ``close`` it."""
        self._open[fields["op"]] += 1

    def close(self, fields: dict[str, int]) -> None:
        self._open[fields["op"]] -= 1
        if not self._open[fields["op"]]:
            del self._open[fields["op"]]


async def change(
    home: session.Session, method: str, body: dict[str, Any], attachments: Sequence[codec.Bytes] = ()
) -> peer.Reply:
    """Ask for a change that is made once, however often it must be asked for."""
    with home.numbers.one() as fields:
        return await home.request(method, {**body, **fields}, attachments)
