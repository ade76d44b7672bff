"""Links, addresses and routes by the kernel's own messages: a container's network in one round trip, without ``ip``.

Only what a container's network needs. Indexes of interfaces are chosen by the caller, so that nothing must be asked. A
socket belongs to the network namespace of the thread that opened it, for as long as it is open.
"""
from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Sequence

_ERROR, _NEWLINK, _NEWADDR, _NEWROUTE = 2, 16, 20, 24
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_UP = 1  # IFF_UP
_LINK_NAME, _LINK_MTU, _LINK_INFO, _LINK_NETNS = 3, 4, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_ADDRESS, _LOCAL = 1, 2
_DST, _OIF, _GATEWAY, _PREFSRC = 1, 4, 5, 7
_MAIN_TABLE, _STATIC, _UNICAST = 254, 4, 1
_EVERYWHERE, _ON_LINK = 0, 253  # scopes
_NO_DETECTION = 0x2  # of duplicates, which takes a second

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_Message = tuple[int, int, bytes]


class Socket:
    """A conversation with the kernel about the network namespace that the thread is in now."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def close(self) -> None:
        """Let go of the namespace."""
        self._socket.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do(self, messages: Sequence[_Message]) -> None:
        """Have all done, in order. Raises ``OSError`` of the first that failed."""
        parts = []
        for number, (kind, flags, body) in enumerate(messages):
            size = _HEADER.size + len(body)
            parts.append(_HEADER.pack(size, kind, flags | _REQUEST | _ACK, number, 0) + body)
        self._socket.send(b"".join(parts))
        failed, answers = 0, 0
        while answers < len(messages):
            data = self._socket.recv(65536)
            while data:
                size, kind, _, _, _ = _HEADER.unpack_from(data)
                if kind == _ERROR:
                    answers += 1
                    failed = failed or -struct.unpack_from("=i", data, _HEADER.size)[0]
                data = data[size + 3 & ~3 :]
        if failed:
            raise OSError(failed, f"netlink: {os.strerror(failed)}")


def veth(name: str, index: int, *, mtu: int, peer: str, peer_index: int, peer_netns: int) -> _Message:
    """A pair: ``name`` here, ``peer`` in the namespace of that open file."""
    other = _LINK.pack(0, 0, peer_index, 0, 0) + _text(_LINK_NAME, peer) + _number(_LINK_MTU, mtu)
    other += _number(_LINK_NETNS, peer_netns)
    info = _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, other))
    body = _LINK.pack(0, 0, index, 0, 0) + _text(_LINK_NAME, name) + _number(_LINK_MTU, mtu)
    return _NEWLINK, _CREATE | _EXCL, body + _attribute(_LINK_INFO, info)


def up(index: int) -> _Message:
    """Switch an interface on."""
    return _NEWLINK, 0, _LINK.pack(0, 0, index, _UP, _UP)


def address(index: int, value: str) -> _Message:
    """Give an interface one single address (/32)."""
    packed = _pack(value)
    body = _ADDR.pack(socket.AF_INET, 32, 0, _EVERYWHERE, index)
    return _NEWADDR, _CREATE | _REPLACE, body + _attribute(_LOCAL, packed) + _attribute(_ADDRESS, packed)


def neighbour(index: int, value: str, *, source: str = "") -> _Message:
    """A route to one address that is right behind the interface; ``source`` is the own address to use for it."""
    body = _ROUTE.pack(socket.AF_INET, 32, 0, 0, _MAIN_TABLE, _STATIC, _ON_LINK, _UNICAST, 0)
    body += _attribute(_DST, _pack(value)) + _number(_OIF, index)
    return _NEWROUTE, _CREATE, body + (_attribute(_PREFSRC, _pack(source)) if source else b"")


def default_route(index: int, gateway: str) -> _Message:
    """The way to everywhere else."""
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, _MAIN_TABLE, _STATIC, _EVERYWHERE, _UNICAST, 0)
    return _NEWROUTE, _CREATE, body + _attribute(_GATEWAY, _pack(gateway)) + _number(_OIF, index)


def private_address(index: int, value: str) -> _Message:
    """Give an interface one single IPv6 address, without asking whether somebody else has it."""
    packed = ipaddress.IPv6Address(value).packed
    scope, length = (_ON_LINK, 64) if value.startswith("fe80:") else (_EVERYWHERE, 128)
    body = _ADDR.pack(socket.AF_INET6, length, _NO_DETECTION, scope, index)
    return _NEWADDR, _CREATE | _REPLACE, body + _attribute(_LOCAL, packed) + _attribute(_ADDRESS, packed)


def private_route(index: int, network: str, gateway: str = "") -> _Message:
    """The way to an IPv6 network: right behind the interface, or by a gateway there."""
    to = ipaddress.IPv6Network(network)
    body = _ROUTE.pack(socket.AF_INET6, to.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, _EVERYWHERE, _UNICAST, 0)
    body += _attribute(_DST, to.network_address.packed) + _number(_OIF, index)
    by = _attribute(_GATEWAY, ipaddress.IPv6Address(gateway).packed) if gateway else b""
    return _NEWROUTE, _CREATE | _REPLACE, body + by


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _pack(value: str) -> bytes:
    return ipaddress.IPv4Address(value).packed
