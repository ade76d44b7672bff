"""What apps had of the machines: ``Workspace.billing`` and ``Environment.billing``.

On machines of your own nothing has a price, so there is none here: there are core-seconds, GiB-seconds and GPU-seconds,
to be multiplied with what they cost you.
"""
from __future__ import annotations

import dataclasses

from windlass import exception
from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from windlass.wire.messages import billing as messages

_WORDS = {"h": "hour", "d": "day", "total": "total"}


@dataclasses.dataclass(frozen=True)
class Usage:
    """What one app had, from ``interval_start`` on.

    Attributes:
        object_id: the app.
        description: its name.
        environment_name: that it lived in.
        interval_start: the beginning of the hour, of the day (UTC), or of the report.
        cpu_seconds: promised cores, times the seconds for which its containers had them.
        memory_gib_seconds: promised memory, likewise.
        gpu_seconds: GPUs, likewise.
        used_cpu_seconds: of processors, really used by containers that have ended; 0 where nobody counts.
        containers: that began in that time.
        tags: of the app, those that were asked for.
    """

    object_id: str
    description: str
    environment_name: str
    interval_start: datetime.datetime
    cpu_seconds: float
    memory_gib_seconds: float
    gpu_seconds: float
    used_cpu_seconds: float
    containers: int
    tags: dict[str, str]


class Billing:
    """Reports on usage, of all apps or of those of one environment."""

    def __init__(self, environment: Callable[[], Coroutine[Any, Any, str | None]]) -> None:
        self._environment = environment

    @faces.method
    async def report(
        self,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        *,
        resolution: str = "d",
        tag_names: Sequence[str] | None = None,
    ) -> list[Usage]:
        """What each app had of the machines.

        Args:
            start: from here on, in whole hours; 30 days before ``end`` unless given. Naive times are local ones.
            end: up to here; now, unless given.
            resolution: "d", "h" or "total": a row for each day, for each hour, or one for all.
            tag_names: tags of apps to return with the rows; all of them unless given.

        Raises:
            InvalidError: the range ends before it begins, or is longer than 400 days (31 by the hour).

        Example:
            >>> for row in windlass.Workspace.from_context().billing.report(resolution="total"):
            ...     print(row.description, round(row.cpu_seconds / 3600, 1), "core-hours")
        """
        from windlass.client import session

        if resolution not in _WORDS:
            raise exception.InvalidError(f'resolution must be "d", "h" or "total", not {resolution!r}')
        query: dict[str, Any] = {"resolution": _WORDS[resolution]}
        for name, time in (("since", start), ("until", end)):
            if time is not None:
                query[name] = time.timestamp()
        if (environment := await self._environment()) is not None:
            query["environment"] = environment
        found: messages.UsageReport = (await session.current().request("billing.report", query)).body
        return [_usage(row, tag_names) for row in found["rows"]]


def _usage(row: messages.Usage, tag_names: Sequence[str] | None) -> Usage:
    import datetime

    return Usage(
        object_id=row["app_id"],
        description=row["app"],
        environment_name=row["environment"],
        interval_start=datetime.datetime.fromtimestamp(row["begin"], datetime.timezone.utc),
        cpu_seconds=row["cpu_seconds"],
        memory_gib_seconds=row["memory_gib_seconds"],
        gpu_seconds=row["gpu_seconds"],
        used_cpu_seconds=row["used_cpu_seconds"],
        containers=row["containers"],
        tags={key: value for key, value in row["tags"].items() if tag_names is None or key in tag_names},
    )
