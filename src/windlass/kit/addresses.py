"""Whether an address belongs to the public internet, however it is written."""
from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_CARRYING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::ffff:0:0:0/96"))
"""An IPv4 address in the last 32 bits, for translators of the internet (NAT64, SIIT)."""
_NOWHERE = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("::/96"))
"""For translators of one's own network, and IPv4 as of old; some versions of Python call them public."""


def leads_out(address: Address) -> bool:
    """Whether it belongs to the public internet, also where it is an older address in a newer one's clothes."""
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in one for one in _NOWHERE):
            return False
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and any(address in one for one in _CARRYING):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return leads_out(inner)
    return address.is_global and not address.is_multicast


def read(host: str) -> Address | None:
    """Also of ``127.1``, ``0x7f000001`` and ``2130706433``, which programs take for addresses."""
    without_zone = host.partition("%")[0]
    try:
        return ipaddress.ip_address(without_zone if ":" in without_zone else host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
