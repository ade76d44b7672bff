"""Whether an address belongs to the public internet, however it is written."""
from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def leads_out(address: Address) -> bool:
    """Whether it belongs to the public internet, also where it is an older address in a newer one's clothes."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return leads_out(inner)
    return address.is_global and not address.is_multicast


def read(host: str) -> Address | None:
    """Also of ``127.1``, ``0x7f000001`` and ``2130706433``, which programs take for addresses."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
