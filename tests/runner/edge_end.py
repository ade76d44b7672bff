"""In the place of the connection to the edge."""
from __future__ import annotations

from windlass.runner.web import carrier as carriers
from windlass.wire import web


class Carrier:
    """Keeps the frames that go to the edge."""

    up = True

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self._reader = web.Reader(lambda kind, number, data: self.frames.append((kind, data)))

    def stream(self, number: int) -> carriers.Stream:
        return carriers.Stream(self, number)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        self._reader.feed(bytes(data))

    def forget(self, number: int) -> None:
        pass

    def hurry(self) -> None:
        pass
