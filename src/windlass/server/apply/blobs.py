"""Letting blobs go that nothing refers to any more."""

from __future__ import annotations

import functools

from windlass.server.apply import core as core_module
from windlass.server.store import calls

Core = core_module.Core


def drop(core: Core, digests: list[str]) -> None:
    """Delete, after the commit, those of ``digests`` that no row refers to."""
    for digest in calls.unused(core.db, digests) if digests else ():
        core.turn.after.append(functools.partial(_delete, core, digest))


def _delete(core: Core, digest: str) -> None:
    """The same turn may have given it a new use."""
    if calls.unused(core.db, [digest]):
        core.blobs.delete(digest)
