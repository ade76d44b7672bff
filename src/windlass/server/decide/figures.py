"""Where the start-up time of containers went, as percentiles."""

from __future__ import annotations

from collections.abc import Iterable

from windlass.server.state import records
from windlass.wire.messages import records as messages

Start = tuple[float, "float | None", "float | None", dict[str, float]]
"""When a container was planned, made and ready, and the seconds of its phases."""


def spread(times: records.Histogram) -> messages.Spread:
    return {"p50": times.percentile(0.50), "p99": times.percentile(0.99)}


def starts(containers: Iterable[Start]) -> dict[str, messages.Spread]:
    """``make``: until the process began; ``load``: until the code was imported; ``enter``: its hooks."""
    make, load, enter = records.Histogram(), records.Histogram(), records.Histogram()
    for planned, made, ready, phases in containers:
        hooks = phases.get("enter", 0.0)
        if made is not None:
            make.add(max(0.0, made - planned))
        if ready is not None:
            load.add(max(0.0, ready - hooks - (planned if made is None else made)))
            enter.add(hooks)
    return {"make": spread(make), "load": spread(load), "enter": spread(enter)}
