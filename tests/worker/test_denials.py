"""What the kernel's packet log says."""

from __future__ import annotations

import random
import struct

from windlass.worker import denials


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(kind: int, *attributes: bytes) -> bytes:
    body = bytes(4) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def packet(protocol: int, ports: bytes = b"\x9c\x40\x00\x50") -> bytes:
    return bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 198, 19, 0, 5, 203, 0, 113, 7]) + ports


def test_a_refusal_is_told_with_link_address_and_port() -> None:
    data = b"".join(message(0x400, attribute(10, b"wc5\0"), attribute(9, packet(number))) for number in (6, 17, 1, 99))
    assert list(denials.told(data)) == [
        ("wc5", "203.0.113.7, TCP port 80"), ("wc5", "203.0.113.7, UDP port 80"), ("wc5", "203.0.113.7, ICMP"),
        ("wc5", "203.0.113.7, protocol 99"),
    ]  # fmt: skip
    assert not list(denials.told(message(2, attribute(10, b"wc5\0")))), "other messages are none"
    assert next(iter(denials.told(message(0x400, attribute(10, b"wc5\0")))))[1] == "an address that is not IPv4"


def test_no_bytes_make_it_fail() -> None:
    chance, seed = random.Random(5747), message(0x400, attribute(10, b"wc5\0"), attribute(9, packet(6)))
    for _ in range(3000):
        data = bytearray(seed)
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        list(denials.told(bytes(data[: chance.randrange(len(data) + 1)])))
