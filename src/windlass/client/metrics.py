"""``Function.metrics``: what a function does now and how it fared."""
from __future__ import annotations

from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Coroutine
    from typing import Any

    from windlass import about
    from windlass.client import figures


class Metrics:
    """``Function.metrics``: the same figures as ``get_current_stats`` and ``stats``, in one place.

    Example:
        >>> square.metrics.current().backlog
        0
    """

    def __init__(
        self,
        current: Callable[[], Coroutine[Any, Any, about.FunctionStats]],
        stats: Callable[..., Coroutine[Any, Any, figures.Stats]],
    ) -> None:
        self._current, self._stats = current, stats

    @faces.method
    async def current(self) -> about.FunctionStats:
        """What waits and runs now, and in how many containers."""
        return await self._current()

    @faces.method
    async def fetch(
        self, since: datetime.datetime | None = None, until: datetime.datetime | None = None
    ) -> figures.Stats:
        """How inputs fared, in the last hour unless said.

        Raises:
            InvalidError: the range ends before it begins, or is longer than what is kept.
        """
        return await self._stats(since=since, until=until)
