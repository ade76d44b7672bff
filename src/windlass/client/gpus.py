"""What ``gpu=`` means: how many GPUs of which kind, in the order in which they are wanted.

Kinds are names such as ``H100``. A machine of one's own may have others than a cloud: any name of letters, digits and
hyphens passes here, and the server says which ones there are.
"""
from __future__ import annotations

import re

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.wire.messages import functions

MOST = 8
_MOST_OF = {"A10": 4}
_SAME = {"A10G": "A10"}
_KIND = re.compile(r"[A-Z0-9][A-Z0-9-]*[!+]?")


def parse(given: Any) -> list[functions.GpuSpec]:
    """Alternatives, the best first; none for a function without GPUs.

    Args:
        given: ``"TYPE"``, ``"TYPE:COUNT"``, a list of these, or None.

    Raises:
        InvalidError: it is something else, or more than one container can have.

    Example:
        >>> parse("h100:2")
        [{'kind': 'H100', 'count': 2}]
    """
    if given is None:
        return []
    if isinstance(given, (list, tuple)):
        if not given:
            raise exception.InvalidError("gpu: an empty list names no GPU", hint='Leave gpu out, or write gpu="any".')
        return [_one(each) for each in given]
    return [_one(given)]


def _one(given: Any) -> functions.GpuSpec:
    if not isinstance(given, str):
        raise exception.InvalidError(f'gpu must be a string such as "H100" or "H100:2", not {given!r}')
    kind, colon, count = given.strip().upper().partition(":")
    kind = _SAME.get(kind, kind)
    if not _KIND.fullmatch(kind):
        raise exception.InvalidError(f"gpu={given!r} names no kind of GPU", hint='Write it as in gpu="H100:2".')
    if colon and not count.isdecimal():
        raise exception.InvalidError(f"gpu={given!r}: the number of GPUs must be an integer, not {count!r}")
    most = _MOST_OF.get(kind, MOST)
    if not 1 <= (number := int(count) if colon else 1) <= most:
        raise exception.InvalidError(f"gpu={given!r}: a container has 1 to {most} GPUs of this kind")
    return {"kind": kind, "count": number}


def words(wanted: list[functions.GpuSpec]) -> list[str]:
    """As users write them."""
    return [one["kind"] + (f":{one['count']}" if one["count"] > 1 else "") for one in wanted]
