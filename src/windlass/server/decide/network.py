"""What containers may reach and who may reach them: refused where it means nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from windlass import exception
from windlass.wire import reach

_LISTS: dict[str, Callable[[str], str]] = {"inbound_cidrs": reach.cidr}


def check(spec: Mapping[str, Any]) -> None:
    """Raises ``InvalidError`` for what no client of ours would send."""
    for key, read in _LISTS.items():
        listed = spec.get(key, [])
        if len(listed) > reach.MOST:
            raise exception.InvalidError(f"{key} has more than {reach.MOST:,} entries")
        if key in spec and spec["block_network"]:
            raise exception.InvalidError(f"block_network leaves no network for {key}")
        for one in listed:
            _check_one(key, one, read)


def _check_one(key: str, one: str, read: Callable[[str], str]) -> None:
    try:
        stored = read(one)
    except ValueError as exc:
        raise exception.InvalidError(f"{key}: {exc}") from None
    if stored != one:
        raise exception.InvalidError(f"{key}: {one!r} must be written as {stored!r}")
