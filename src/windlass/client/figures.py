"""Figures of functions and apps as data: ``function.stats`` and ``app.stats``."""
from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from windlass import exception
from windlass.client import session

_LONGEST, _OLDEST = datetime.timedelta(days=7), datetime.timedelta(days=30)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Durations in seconds; None where there was nothing to measure."""

    p50: float | None
    p99: float | None


@dataclasses.dataclass(frozen=True)
class Stats:
    """How inputs fared in a span of time.

    ``inputs`` have ended, ``failures`` of them for good; ``retries`` counts attempts that failed and were tried again,
    ``crashes`` containers that died under an input. ``queue``: waiting for a free container; ``start``: waiting for one
    that was starting; ``run``: in user code. ``container_make``, ``container_load`` and ``container_enter``: where the
    start-up time of the ``containers`` went. ``memory_peak`` in bytes.
    """

    since: datetime.datetime
    until: datetime.datetime
    inputs: int
    failures: int
    retries: int
    cancelled: int
    crashes: int
    queue: Spread
    start: Spread
    run: Spread
    cpu_seconds: float
    memory_peak: int
    containers: int
    container_make: Spread
    container_load: Spread
    container_enter: Spread


@dataclasses.dataclass(frozen=True)
class SandboxStats:
    """How the sandboxes of an app fared in a span of time.

    ``created`` and ``ended`` in it; of those that ended, ``timeouts`` by their ``timeout`` or ``idle_timeout``,
    ``terminated`` by somebody, ``failed`` before they ran or because they were lost. ``start``: from the wish to the
    running command, of those created. ``waiting`` and ``running``: now.
    """

    since: datetime.datetime
    until: datetime.datetime
    created: int
    ended: int
    timeouts: int
    terminated: int
    failed: int
    waiting: int
    running: int
    start: Spread


async def sandbox_stats(app_id: str, since: datetime.datetime | None, until: datetime.datetime | None) -> SandboxStats:
    """Ask for them; the last hour unless said. Raises ``InvalidError`` for ranges that are not kept."""
    begin, end = _range(since, until)
    query = {"app_id": app_id, "since": begin.timestamp(), "until": end.timestamp()}
    found: dict[str, Any] = (await session.current().request("sandbox.figures", query)).body
    return SandboxStats(since=begin, until=end, **{**found, "start": Spread(**found["start"])})


async def of_function(
    identity: str,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    *,
    container: str | None,
    variants: bool = False,
) -> Stats:
    """Of a function, and with ``variants`` of those with other options, too. Raises ``InvalidError``."""
    if container is not None:
        raise exception.UnimplementedError("figures of a single container are not kept", hint="Leave it out.")
    return await stats({"function_id": identity, "variants": variants}, since, until)


async def stats(whose: dict[str, Any], since: datetime.datetime | None, until: datetime.datetime | None) -> Stats:
    """Ask for ``whose`` figures; the last hour unless said. Raises ``InvalidError`` for ranges that are not kept."""
    begin, end = _range(since, until)
    query = {**whose, "since": begin.timestamp(), "until": end.timestamp()}
    found: dict[str, Any] = (await session.current().request("function.figures", query)).body
    for name in ("queue", "start", "run"):
        found[name] = Spread(**found[name])
    for name in ("make", "load", "enter"):
        found[f"container_{name}"] = Spread(**found.pop(name))
    return Stats(since=begin, until=end, **found)


def _range(
    since: datetime.datetime | None, until: datetime.datetime | None
) -> tuple[datetime.datetime, datetime.datetime]:
    now = datetime.datetime.now(datetime.timezone.utc)
    end = (until or now).astimezone(datetime.timezone.utc)
    begin = (since or end - datetime.timedelta(hours=1)).astimezone(datetime.timezone.utc)
    if begin > end:
        raise exception.InvalidError("the range of figures ends before it begins")
    if end - begin > _LONGEST:
        raise exception.InvalidError(f"a range of figures may span {_LONGEST.days} days at most")
    if now - begin > _OLDEST + datetime.timedelta(minutes=1):
        raise exception.InvalidError(f"figures go back {_OLDEST.days} days at most")
    return begin, end
