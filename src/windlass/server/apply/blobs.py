"""Letting blobs go that nothing refers to any more, and bringing those that the worker will read."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from pathlib import Path

from windlass.server.apply import core as core_module
from windlass.server.decide import storage as decisions
from windlass.server.store import calls

Core = core_module.Core
_AT_ONCE = 16
_MANIFEST = 64 * 1024 * 1024  # bytes of a blob above which it is no list of files


def drop(core: Core, digests: list[str]) -> None:
    """Delete, after the commit, those of ``digests`` that no row refers to."""
    for digest in calls.unused(core.db, digests) if digests else ():
        core.turn.after.append(functools.partial(_delete, core, digest))


def _delete(core: Core, digest: str) -> None:
    """The same turn may have given it a new use."""
    if calls.unused(core.db, [digest]):
        core.blobs.delete(digest)


async def bring(core: Core, digests: Iterable[str]) -> None:
    """See that blobs lie on this machine, with the files that they list. Those that nobody has are left out."""
    named = list(digests)
    await _bring(core, named)
    await _bring(core, listed_in(core, named))


async def bring_lists(core: Core, digests: Iterable[str]) -> None:
    """See that those blobs lie on this machine that may be lists of files."""
    await _bring(core, [one for one in digests if core.blobs.has(one) and core.blobs.size(one) <= _MANIFEST])


async def _bring(core: Core, digests: Iterable[str]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(digest: str) -> None:
        async with gate:
            await core.blobs.bring(digest)

    await asyncio.gather(*(one(digest) for digest in digests if core.blobs.has(digest)))


def listed_in(core: Core, digests: Iterable[str]) -> set[str]:
    """Digests in those blobs that are lists of files and lie on this machine."""
    return decisions.digests(_json(core.blobs.path(digest)) for digest in digests)


def _json(path: Path) -> str:
    """What is written in a list of files; nothing for pickles and what is not here."""
    try:
        with path.open("rb") as file:
            if file.read(1) != b"{" or path.stat().st_size > _MANIFEST:
                return ""
            return (b"{" + file.read()).decode(errors="replace")
    except FileNotFoundError:
        return ""
