"""Which name a TLS client asks for, read from the first bytes that it sends (ClientHello). Pure.

Nothing is decrypted. With encrypted client hello the name that counts is the outer one, which is all that anybody but
the server can see; the older encrypted SNI leaves no name at all.
"""
from __future__ import annotations

from collections.abc import Iterator

from windlass.wire import reach

MOST = 64 * 1024
"""Bytes that a ClientHello may have; real ones have some hundred, with post-quantum keys some thousand."""

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_MOST_IN_RECORD = 16384
_MOST_RECORDS = 128  # each costs time, whenever more bytes have come: real ones are one or two
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_VERSION_AND_RANDOM = 34


class NotTls(Exception):
    """These bytes are no ClientHello, whatever follows, or one that names nobody."""


class _Short(Exception):
    """A length points beyond what holds it."""


def name(data: bytes) -> str | None:
    """The name in a ClientHello; None where more bytes are needed to tell.

    Raises:
        NotTls: with the reason, in words.
    """
    message = _message(data)
    if message is None:
        return None
    try:
        return _name(message)
    except _Short:
        raise NotTls("its ClientHello is malformed") from None


def _message(data: bytes) -> bytes | None:
    """The first handshake message without its header; it may lie in pieces in several records."""
    whole, at = bytearray(), 0
    for _ in range(_MOST_RECORDS):
        kind = data[at : at + 1]
        if (kind and kind[0] != _HANDSHAKE) or data[at + 1 : at + 2] not in (b"", b"\x03"):
            raise NotTls("it does not speak TLS")
        if len(data) < at + _RECORD_HEADER:
            break
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if not 0 < size <= _MOST_IN_RECORD:
            raise NotTls("it does not speak TLS")
        at += _RECORD_HEADER
        whole += data[at : at + size]
        if whole[0:1] and whole[0] != _CLIENT_HELLO:
            raise NotTls("it does not begin with a ClientHello")
        if len(whole) >= _MESSAGE_HEADER:
            wanted = _MESSAGE_HEADER + int.from_bytes(whole[1:4], "big")
            if wanted > MOST:
                raise NotTls("its ClientHello is too long")
            if len(whole) >= wanted:
                return bytes(whole[_MESSAGE_HEADER:wanted])
        if len(data) < at + size:
            break
        at += size
    else:
        raise NotTls("its ClientHello is in too many pieces")
    if len(data) > 2 * MOST:
        raise NotTls("its ClientHello is too long")
    return None


def _name(message: bytes) -> str:
    found = ""
    for kind, body in _extensions(message):
        if kind == _SERVER_NAME:
            if found:
                raise NotTls("it names two servers")
            found = _host(body)
    if not found:
        raise NotTls("it names no server (SNI)")
    return found


def _extensions(message: bytes) -> Iterator[tuple[int, bytes]]:
    rest = message[_VERSION_AND_RANDOM:]
    if len(message) < _VERSION_AND_RANDOM:
        raise _Short
    for width in (1, 2, 1):  # session, cipher suites, compression methods
        _, rest = _vector(rest, width)
    if not rest:
        return  # very old clients have no extensions
    rest, beyond = _vector(rest, 2)
    if beyond:
        raise _Short
    while rest:
        kind = int.from_bytes(rest[:2], "big")
        body, rest = _vector(rest[2:], 2)
        yield kind, body


def _host(body: bytes) -> str:
    names, beyond = _vector(body, 2)
    host, more = _vector(names[1:], 2)
    if beyond or more or names[0] != _HOST_NAME:
        raise NotTls("its ClientHello is malformed")  # one name is all that ever was allowed
    try:
        found = reach.plain_name(host.decode("ascii"))
    except UnicodeDecodeError:
        found = ""
    if not found:
        raise NotTls("it names a server that cannot be")
    return found


def _vector(data: bytes, width: int) -> tuple[bytes, bytes]:
    """What a length of so many bytes stands before, and what comes after it."""
    size = int.from_bytes(data[:width], "big")
    if len(data) < width + size:
        raise _Short
    return data[width : width + size], data[width + size :]
