"""``Image.logs``: the output of build steps, one entry a layer."""
from __future__ import annotations

import dataclasses
from collections import deque

from windlass import exception
from windlass.client import faces, session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from windlass.wire.messages import built


@dataclasses.dataclass(frozen=True)
class LayerLog:
    """How one layer was built. Times are seconds since the epoch.

    ``command``: the step as people read it. ``text``: what it printed; of a great deal its beginning and end, with
    ``left_out`` bytes missing between them. ``started_at`` is None where no log is kept (any more), ``ended_at`` while
    it is being built. ``error``: why the build failed, else None.
    """

    image_id: str
    command: str
    text: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    left_out: int = 0


class BuildLogs:
    """The logs of one image. Nothing is fetched before it is asked for."""

    def __init__(self, image_id: Callable[[], Awaitable[str]]) -> None:
        self._image_id = image_id

    @faces.method
    async def fetch(self) -> list[LayerLog]:
        """All layers, the base first.

        Raises:
            InvalidError: the image was not built yet.
            NotFoundError: nothing is known of it.
        """
        return await self._fetch()

    async def _fetch(self) -> list[LayerLog]:
        layers: list[LayerLog] = []
        texts: list[str] = []
        query: built.ImageLogs = {"image_id": await self._image_id()}
        patience = session.Patience()
        while True:
            try:
                async for item in session.current().stream("image.logs", query):
                    _take(item.body, layers, texts)
                return layers
            except exception.ServiceError as exc:
                await patience.wait(exc)
                layers.clear()
                texts.clear()

    @faces.method
    async def tail(self, n: int = 100) -> list[LayerLog]:
        """The last ``n`` lines of the whole build, as the entries of the layers that printed them.

        Raises:
            InvalidError: ``n`` is no positive number, or the image was not built yet.
            NotFoundError: nothing is known of the image.
        """
        if not isinstance(n, int) or n < 1:
            raise exception.InvalidError(f"tail takes a positive number of lines, not {n!r}")
        kept: deque[LayerLog] = deque()
        for layer in reversed(await self._fetch()):
            lines = layer.text.splitlines(keepends=True)
            if lines:
                kept.appendleft(dataclasses.replace(layer, text="".join(lines[-n:])))
                n -= len(lines)
            if n <= 0:
                break
        return list(kept)


def _take(event: built.ImageLogEvent, layers: list[LayerLog], texts: list[str]) -> None:
    if event["kind"] == "layer":
        layers.append(LayerLog(event["image_id"], event["command"], started_at=event["started_at"]))
        texts.clear()
    elif event["kind"] == "log":
        texts.append(event["text"])
    elif event["kind"] == "end":
        layers[-1] = dataclasses.replace(
            layers[-1], text="".join(texts), ended_at=event["ended_at"], error=event["error"],
            left_out=event["left_out"],
        )  # fmt: skip
