"""Which blobs are named, what may be swept, and what fits into a quota."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

SHORTEST = 60.0
"""Seconds for which everything stays, whoever asks: it may be on its way to a row that names it."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digests(texts: Iterable[str]) -> set[str]:
    """All digests that are written in ``texts``, whatever for: one that is no blob's does no harm."""
    return {digest for text in texts for digest in _DIGEST.findall(text)}


def bound(stack: Sequence[str], sizes: Mapping[str, int], measured: tuple[Sequence[str], int] | None = None) -> int:
    """Bytes that a stack of layers shows at most: what was measured of its lower part, and all that lies above.

    Whatever is replaced or removed by a layer above is counted, too. So no stack shows more; when a bound does not fit
    into a quota, and only then, somebody must look.
    """
    known, size = measured if measured is not None else ((), 0)
    if list(stack[: len(known)]) != list(known):
        known, size = (), 0
    return size + sum(sizes.get(layer, 0) for layer in stack[len(known) :])


def fits(after: int, before: int, quota: int) -> bool:
    """Whether something may grow from ``before`` to ``after`` bytes. What makes it smaller is always welcome."""
    return not quota or after <= quota or after < before
