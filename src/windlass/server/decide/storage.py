"""Which blobs are named, and what may be swept."""

from __future__ import annotations

import re
from collections.abc import Iterable

SHORTEST = 60.0
"""Seconds for which everything stays, whoever asks: it may be on its way to a row that names it."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digests(texts: Iterable[str]) -> set[str]:
    """All digests that are written in ``texts``, whatever for: one that is no blob's does no harm."""
    return {digest for text in texts for digest in _DIGEST.findall(text)}
