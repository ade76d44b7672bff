"""What apps had of the machines: core-seconds, memory, GPUs."""
from __future__ import annotations

from typing import TypedDict


class UsageQuery(TypedDict, total=False):
    """From ``since`` up to ``until`` (the last 30 days), in whole hours. ``resolution``: "hour", "day" (of UTC) or
    "total"."""

    since: float
    until: float
    resolution: str
    environment: str


class Usage(TypedDict):
    """Of one app from ``begin`` on. The first three are what its containers were promised; ``used_cpu_seconds``: what
    those that have ended used of processors, where the machine counts it. ``containers`` that began in that time."""

    app_id: str
    app: str
    environment: str
    tags: dict[str, str]
    begin: float
    cpu_seconds: float
    memory_gib_seconds: float
    gpu_seconds: float
    used_cpu_seconds: float
    containers: int


class UsageReport(TypedDict):
    """The range that was looked at, and its rows by time."""

    since: float
    until: float
    rows: list[Usage]
