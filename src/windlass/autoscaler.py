"""The bounds of a pool of containers: looking at them, and changing them until the next deploy."""
from __future__ import annotations

from windlass import options
from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from windlass.wire.messages import functions

AS_BEFORE: Any = type("AS_BEFORE", (), {"__repr__": lambda self: "<as before>"})()

_CLEARED = {
    "min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": options.SCALEDOWN_WINDOW,
}  # fmt: skip


class Autoscaler:
    """``function.autoscaler``.

    Example:
        >>> f.autoscaler.update(min_containers=2, max_containers=10)
        >>> f.autoscaler.update(max_containers=None)
        >>> f.autoscaler.settings()
        {'min_containers': 2, 'max_containers': 0, 'buffer_containers': 0, 'scaledown_window': 60.0}
    """

    def __init__(self, pool: Callable[[], Awaitable[str]]) -> None:
        self._pool = pool

    @faces.method
    async def update(
        self,
        *,
        min_containers: int | None = AS_BEFORE,
        max_containers: int | None = AS_BEFORE,
        buffer_containers: int | None = AS_BEFORE,
        scaledown_window: int | None = AS_BEFORE,
    ) -> functions.AutoscalerSpec:
        """Change the autoscaler until the next deploy. What is left out stays; returns what holds now.

        ``None`` takes a bound away: no containers are kept warm or ahead, there is no maximum, and idle containers stay
        for the usual 60 seconds.

        Raises:
            InvalidError: a number is wrong, or the bounds contradict each other.
        """
        given = {
            "min_containers": min_containers, "max_containers": max_containers, "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
        }  # fmt: skip
        cleared = {name: _CLEARED[name] for name, value in given.items() if value is None}
        asked = options.scaling({name: value for name, value in given.items() if value is not AS_BEFORE})
        return await _set(self._pool, {**asked, **cleared})

    @faces.method
    async def settings(self) -> functions.AutoscalerSpec:
        """What holds now. A ``max_containers`` of 0 means that there is no maximum."""
        return await _set(self._pool, {})


async def override(
    pool: Callable[[], Awaitable[str]], more: dict[str, Any] | None = None, **asked: Any
) -> functions.AutoscalerSpec:
    """``update_autoscaler``: what is None stays as it is. ``more``: what only servers have, checked."""
    return await _set(pool, {**options.scaling(asked), **(more or {})})


async def _set(pool: Callable[[], Awaitable[str]], changes: dict[str, Any]) -> functions.AutoscalerSpec:
    """Wrong numbers are refused before ``pool`` asks anybody which one it is."""
    from windlass.client import session

    body: Any = {"function_id": await pool(), **changes}
    now: functions.AutoscalerSpec = (await session.current().request("function.autoscaler", body)).body
    return now
