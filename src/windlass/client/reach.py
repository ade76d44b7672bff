"""Lists of addresses and domains as users write them, checked before anybody is asked."""
from __future__ import annotations

from windlass import exception
from windlass.wire import reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def cidrs(argument: str, given: Any) -> list[str]:
    """A checked list of networks. Raises ``InvalidError``."""
    return _checked(argument, given, reach.cidr, "addresses")


def domains(argument: str, given: Any) -> list[str]:
    """A checked list of domains. Raises ``InvalidError``."""
    return _checked(argument, given, reach.domain, "domains")


def _checked(argument: str, given: Any, read: Callable[[str], str], what: str) -> list[str]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, str) for one in given):
        raise exception.InvalidError(f"{argument} must be a list of {what} as strings, not {given!r}")
    if len(given) > reach.MOST:
        raise exception.InvalidError(f"{argument} has {len(given):,} entries; at most {reach.MOST:,} are allowed")
    try:
        return list(dict.fromkeys(read(one) for one in given))
    except ValueError as exc:
        raise exception.InvalidError(f"{argument}: {exc}") from None
