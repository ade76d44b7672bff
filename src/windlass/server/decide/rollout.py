"""How containers of an old version give way to those of the new one.

    old ones serve ─► new ones start beside them ─► as new ones are ready, as many old ones drain ─► none is left

Old ones stay as long as nothing can take their place: until then a new version whose code does not even start
harms nobody. At ``maximum`` nothing can be added, so there an old one goes only when it has nothing to do.
"""

from __future__ import annotations

from typing import NamedTuple


class Old(NamedTuple):
    """A container of an older version that takes inputs."""

    container_id: str
    busy: bool


class Pool(NamedTuple):
    """``wanted``: containers for the load, of whatever version. ``fresh``: of the new version, ``ready`` of them take
    inputs. ``active``: something was queued or ran lately. ``maximum`` 0: none."""

    wanted: int
    fresh: int
    ready: int
    old: list[Old]
    active: bool
    maximum: int


def _target(pool: Pool) -> int:
    """Containers of the new version that should exist. One is warm for whoever calls next, if somebody did lately."""
    target = max(pool.wanted, 1) if pool.old and pool.active else pool.wanted
    return min(target, pool.maximum) if pool.maximum else target


def _missing(pool: Pool) -> int:
    return max(0, _target(pool) - pool.fresh)


def starts(pool: Pool) -> int:
    """How many of the new version to start."""
    missing = _missing(pool)
    return max(0, min(missing, pool.maximum - pool.fresh - len(pool.old))) if pool.maximum else missing


def leaving(pool: Pool) -> list[str]:
    """Which of the old ones drain now, idle ones first."""
    idle = [old.container_id for old in pool.old if not old.busy]
    target = _target(pool)
    if not target:
        return idle
    if pool.ready:
        busy = [old.container_id for old in pool.old if old.busy]
        return (idle + busy)[: max(0, len(pool.old) - max(0, target - pool.ready))]
    crowded = _missing(pool) - starts(pool)
    return idle[:crowded]
