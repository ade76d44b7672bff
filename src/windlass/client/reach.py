"""Lists of addresses and domains as users write them, checked before anybody is asked."""
from __future__ import annotations

from windlass import exception
from windlass.wire import reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_OLD, _NEW = "cidr_allowlist", "outbound_cidr_allowlist"


def lists(asked: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lists among the arguments of a function or a sandbox, in the words of its spec.

    Raises:
        InvalidError: one is wrong, or there is to be no network at all.
    """
    given = {name: asked[name] for name in _READ if asked.get(name) is not None}
    if _OLD in given:
        if _NEW in given:
            raise exception.InvalidError(f"{_OLD} is the older word for {_NEW}: pass only that")
        _warn()
    if given and asked.get("block_network"):
        raise exception.InvalidError(f"block_network=True leaves no network for {next(iter(given))}")
    return {_READ[name][0]: _READ[name][1](name, value) for name, value in given.items()}


def _warn() -> None:
    import warnings

    warnings.warn(f"{_OLD}= is deprecated; use {_NEW}=", exception.DeprecationError, stacklevel=6)


def cidrs(argument: str, given: Any) -> list[str]:
    """A checked list of networks. Raises ``InvalidError``."""
    return _checked(argument, given, reach.cidr, "addresses")


def domains(argument: str, given: Any) -> list[str]:
    """A checked list of domains. Raises ``InvalidError``."""
    return _checked(argument, given, reach.domain, "domains")


_READ: dict[str, tuple[str, Callable[[str, Any], list[str]]]] = {
    _OLD: ("outbound_cidrs", cidrs), _NEW: ("outbound_cidrs", cidrs),
    "outbound_domain_allowlist": ("outbound_domains", domains), "inbound_cidr_allowlist": ("inbound_cidrs", cidrs),
}  # fmt: skip


def _checked(argument: str, given: Any, read: Callable[[str], str], what: str) -> list[str]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, str) for one in given):
        raise exception.InvalidError(f"{argument} must be a list of {what} as strings, not {given!r}")
    if len(given) > reach.MOST:
        raise exception.InvalidError(f"{argument} has {len(given):,} entries; at most {reach.MOST:,} are allowed")
    try:
        return list(dict.fromkeys(read(one) for one in given))
    except ValueError as exc:
        raise exception.InvalidError(f"{argument}: {exc}") from None
