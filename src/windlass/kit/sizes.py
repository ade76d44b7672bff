"""Numbers of bytes as people write them."""
from __future__ import annotations

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse(text: str) -> int:
    """Of a size: ``20GB``, ``500MB``, ``1.5TB``, ``10GiB``. Raises ``ValueError``, which says so."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is no size such as 500MB, 20GB or 10GiB")
    return int(float(match[1]) * (_BINARY if match[3] else _UNITS)[match[2]])
