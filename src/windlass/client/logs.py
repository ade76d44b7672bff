"""Output of containers as data: ``app.logs``, ``function.logs`` and ``call.logs``."""
from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from windlass import exception
from windlass.client import entries, faces, session
from windlass.wire.messages import apps

_SOURCES = ("stdout", "stderr", "system")
_MOST_TAIL = 20_000
_LONGEST = datetime.timedelta(days=35)


class Logs:
    """The output of an app, a function or a call, also of those that have ended.

    Example:
        >>> for entry in app.logs.tail(10):
        ...     print(entry.timestamp, entry.message, end="")
    """

    def __init__(self, whose: Callable[[], Awaitable[apps.LogQuery]]) -> None:
        self._whose = whose

    @faces.stream
    async def fetch(
        self,
        since: datetime.datetime,
        until: datetime.datetime | None = None,
        source: str | None = None,
        search_text: str = "",
    ) -> AsyncGenerator[Callable[[], entries.LogEntry], None]:
        """Entries from ``since`` to ``until`` (now, unless said), oldest first. Naive times are local ones.

        Raises:
            InvalidError: the range ends before it begins, or spans more than 35 days.
            LogsFetchError: the platform did not give them.
        """
        query = _narrowed(source, search_text)
        query.update(span(since, until, time.time()))
        async with contextlib.aclosing(self._stream(query, None)) as found:
            async for entry in found:
                yield entry

    @faces.stream
    async def tail(
        self, n: int, source: str | None = None, search_text: str = ""
    ) -> AsyncGenerator[Callable[[], entries.LogEntry], None]:
        """The last ``n`` entries (20,000 at most), oldest first.

        Raises:
            InvalidError: ``n`` is out of range.
            LogsFetchError: the platform did not give them.
        """
        if not 0 < n <= _MOST_TAIL:
            raise exception.InvalidError(f"n must be between 1 and {_MOST_TAIL:,}, not {n!r}")
        query = _narrowed(source, search_text)
        query["tail"] = n
        async with contextlib.aclosing(self._stream(query, None)) as found:
            async for entry in found:
                yield entry

    @faces.stream
    async def stream(self, timeout: float | None = None) -> AsyncGenerator[Callable[[], entries.LogEntry], None]:
        """All entries and those that come, until the app has ended or ``timeout`` seconds have passed.

        Raises:
            LogsFetchError: the connection to the platform was lost.
        """
        async with contextlib.aclosing(self._stream({"follow": True}, timeout)) as found:
            async for entry in found:
                yield entry

    async def _stream(
        self, query: apps.LogQuery, timeout: float | None
    ) -> AsyncGenerator[Callable[[], entries.LogEntry], None]:
        query.update(await self._whose())
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            async with contextlib.aclosing(session.current().stream("app.logs", query)) as replies:
                while True:
                    left = None if ends is None else max(0.0, ends - time.monotonic())
                    try:
                        reply = await asyncio.wait_for(replies.__anext__(), left)
                    except (StopAsyncIteration, asyncio.TimeoutError):
                        return
                    for entry in reply.body["entries"]:
                        yield lambda found=_entry(entry): found  # type: ignore[misc]
        except exception.ServiceError as exc:
            raise exception.LogsFetchError(f"logs could not be fetched: {exc}", hint=exc.hint) from exc


def _narrowed(source: str | None, search_text: str) -> apps.LogQuery:
    query: apps.LogQuery = {}
    if source is not None:
        if source not in _SOURCES:
            raise exception.InvalidError(f"source must be one of {', '.join(_SOURCES)}, not {source!r}")
        query["source"] = source
    if search_text:
        query["search"] = search_text
    return query


def _entry(entry: apps.LogEntry) -> entries.LogEntry:
    ids = {
        "app": entry["app_id"], "function": entry["function_id"], "function_call": entry["call_id"],
        "input": entry["input_id"],
    }  # fmt: skip
    return entries.LogEntry(
        message=entry["text"],
        timestamp=datetime.datetime.fromtimestamp(entry["time"], datetime.timezone.utc),
        source=entry["source"],
        object_id=entry["container_id"],
        context_ids={kind: identity for kind, identity in ids.items() if identity},
    )


def of_function(ready: Callable[[], Awaitable[str]]) -> Logs:
    """Of the function whose id ``ready`` finds out."""

    async def whose() -> apps.LogQuery:
        return {"function_id": await ready()}

    return Logs(whose)


def span(since: datetime.datetime, until: datetime.datetime | None, now: float) -> apps.LogQuery:
    """A range as the platform is asked for it. Where no end is said it knows best what is now: entries have its times,
    and the clock of this machine, which says ``now``, may be another."""
    begin, end = since.timestamp(), now if until is None else until.timestamp()
    if until is not None and begin > end:
        raise exception.InvalidError("the range of logs ends before it begins")
    if end - begin > _LONGEST.total_seconds():
        raise exception.InvalidError(f"a range of logs may span {_LONGEST.days} days at most")
    return {"since": begin} if until is None else {"since": begin, "until": end}
