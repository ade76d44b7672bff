"""Refusals of the rules, from the kernel's packet log: which container wanted to reach what. Inside the node."""
from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from types import TracebackType

from windlass.worker import limits

_NETFILTER, _PACKET, _CONFIG = 12, 4 << 8, 4 << 8 | 1
_REQUEST, _ACK, _ERROR = 0x1, 0x4, 2
_COMMAND, _MODE, _TIMEOUT, _PAYLOAD, _PREFIX = 1, 2, 4, 9, 10
_BIND, _COPY = 1, 2
_HEADERS = 64  # bytes of a packet that are of interest
_SOON = 10  # hundredths of a second that the kernel may gather
_TYPE_MASK = 0x3FFF
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 132: "SCTP"}
_HEADER, _FAMILY, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("!BBH"), struct.Struct("=HH")
_log = logging.getLogger(__name__)


class Denials:
    """Calls ``told`` with the name of a link and what was refused there, in words."""

    def __init__(self, told: Callable[[str, str], None]) -> None:
        self._told = told
        self._socket: socket.socket | None = None

    def __enter__(self) -> Denials:
        """Listen. Where the kernel cannot log packets so, refusals are refused all the same, but not told."""
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        try:
            kernel.settimeout(1.0)
            for number, body in enumerate((
                _attribute(_COMMAND, bytes([_BIND])), _attribute(_MODE, struct.pack("!IBx", _HEADERS, _COPY)),
                _attribute(_TIMEOUT, struct.pack("!I", _SOON)),
            )):  # fmt: skip
                _ask(kernel, number, body)
        except OSError as exc:
            kernel.close()
            _log.warning("what containers may not reach is not logged: %s", exc)
            return self
        kernel.setblocking(False)
        self._socket = kernel
        asyncio.get_running_loop().add_reader(kernel, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 17)
        except OSError:  # more came than fits: what is lost is lost
            return
        for link, what in told(data):
            self._told(link, what)


def told(data: bytes) -> Iterator[tuple[str, str]]:
    """The refusals in what the kernel sent: link, and what was refused. Pure."""
    while len(data) >= _HEADER.size:
        size, kind = struct.unpack_from("=IH", data)
        message, data = data[_HEADER.size + _FAMILY.size : size], data[size + 3 & ~3 :]
        if kind == _PACKET:
            found = dict(_attributes(message))
            link = found.get(_PREFIX, b"").rstrip(b"\0").decode("ascii", "replace")
            yield link, _destination(found.get(_PAYLOAD, b""))
        if size < _HEADER.size:
            return


def _destination(packet: bytes) -> str:
    """Where an IPv4 packet was going to."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return "an address that is not IPv4"
    address, protocol = ipaddress.IPv4Address(packet[16:20]), _PROTOCOLS.get(packet[9], f"protocol {packet[9]}")
    ports = packet[(packet[0] & 15) * 4 :][:4]
    if protocol in ("TCP", "UDP", "SCTP") and len(ports) == 4:
        return f"{address}, {protocol} port {int.from_bytes(ports[2:], 'big')}"
    return f"{address}, {protocol}"


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[_ATTRIBUTE.size : size]
        data = data[size + 3 & ~3 :]


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _ask(kernel: socket.socket, number: int, body: bytes) -> None:
    body = _FAMILY.pack(socket.AF_UNSPEC, 0, limits.LOG_GROUP) + body
    kernel.send(_HEADER.pack(_HEADER.size + len(body), _CONFIG, _REQUEST | _ACK, number, 0) + body)
    answer = kernel.recv(4096)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _ERROR and (code := -struct.unpack_from("=i", answer, _HEADER.size)[0]):
        raise OSError(code, os.strerror(code))
