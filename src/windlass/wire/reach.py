"""What a container may reach, and who may reach it: lists that client, server and worker read alike.

A list of addresses holds networks (``203.0.113.0/24``, ``2001:db8::/32``, or one address). A list of domains holds
``example.com`` (exactly that name), ``*.example.com`` (that name and all below it) or ``*`` (all names). A list that is
not there forbids nothing; an empty one allows nothing.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST = 1000
"""Entries of one list."""

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_NAME_SIZE, _LABEL_SIZE = 253, 63


def cidr(text: str) -> str:
    """A network as it is stored. Raises ``ValueError`` that says what is wrong.

    Example:
        >>> cidr("203.0.113.7"), cidr("2001:DB8:0::/32")
        ('203.0.113.7/32', '2001:db8::/32')
    """
    import ipaddress

    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is neither a network such as 203.0.113.0/24 nor an address") from None
    raise ValueError(f"{text!r} is an address inside of a network; the network is {str(meant)!r}")


def domain(text: str) -> str:
    """A domain, or a pattern of domains, as it is stored. Raises ``ValueError`` that says what is wrong.

    Example:
        >>> domain("API.Example.com."), domain("*.bücher.example")
        ('api.example.com', '*.xn--bcher-kva.example')
    """
    if text == "*":
        return text
    wild, name = text.startswith("*."), text.removeprefix("*.")
    found = plain_name(name)
    if not found:
        raise ValueError(
            f"{text!r} is no domain: say 'example.com' for that name, '*.example.com' for it and all below it, "
            "or '*' for all; without https://, ports and paths"
        )
    if _is_address(found):
        raise ValueError(f"{text!r} is an address: those belong into outbound_cidr_allowlist")
    return f"*.{found}" if wild else found


def plain_name(text: str) -> str:
    """A host name in small ASCII letters without a dot at its end; "" for what is none."""
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    fine = all(0 < len(label) <= _LABEL_SIZE and _LETTERS.issuperset(label) for label in labels)
    return name if fine and len(name) <= _NAME_SIZE else ""


def _is_address(name: str) -> bool:
    """Also in the short forms that resolvers take for one (``127.1``)."""
    return name.rpartition(".")[2].isdigit()


def allows(domains: Iterable[str], name: str) -> bool:
    """Whether a name (as of ``plain_name``) is in the list.

    Example:
        >>> [allows(["*.example.com"], name) for name in ("example.com", "a.b.example.com", "badexample.com")]
        [True, True, False]
    """
    return any(
        one in ("*", name) or (one.startswith("*.") and f".{name}".endswith(one[1:])) for one in domains
    )


def holds(cidrs: Iterable[str], address: str) -> bool:
    """Whether an address is in one of the networks; IPv4 written as IPv6 (``::ffff:…``) counts as IPv4.

    Example:
        >>> holds(["203.0.113.0/24"], "::ffff:203.0.113.9"), holds([], "203.0.113.9")
        (True, False)
    """
    import ipaddress

    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(one) for one in cidrs)


def networks(cidrs: Sequence[str], version: int) -> list[str]:
    """Those of one version of IP."""
    return [one for one in cidrs if (":" in one) == (version == 6)]
