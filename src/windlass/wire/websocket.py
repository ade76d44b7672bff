"""WebSocket framing (RFC 6455): binary messages, pings and ends, without extensions. No I/O: bytes in, messages out.

Both ends use it: clients mask what they send, servers do not.
"""
from __future__ import annotations

import base64
import hashlib
import os
import struct
from typing import NamedTuple

from windlass import exception

MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, GOING, PROTOCOL, TOO_LARGE = 1000, 1001, 1002, 1009

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTROL = 125  # bytes of a ping, pong or close
_FINAL, _MASKED = 0x80, 0x80


class Message(NamedTuple):
    kind: int
    data: bytes


def accept_of(key: str) -> str:
    """What a server answers to a client's ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def new_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


def encode(data: bytes, kind: int = BINARY, *, mask: bool = False) -> bytes:
    """One whole message in one frame."""
    size, bit = len(data), _MASKED if mask else 0
    if size < 126:
        head = bytes((_FINAL | kind, bit | size))
    elif size < 65536:
        head = struct.pack(">BBH", _FINAL | kind, bit | 126, size)
    else:
        head = struct.pack(">BBQ", _FINAL | kind, bit | 127, size)
    if not mask:
        return head + data
    key = os.urandom(4)
    return b"".join((head, key, masked(data, key)))


def end(code: int, reason: str = "", *, mask: bool = False) -> bytes:
    """A close message. ``reason``: for people; cut where it is too long."""
    text = reason.encode()[: _CONTROL - 2].decode("utf-8", "ignore").encode()
    return encode(struct.pack(">H", code) + text, CLOSE, mask=mask)


def read_end(data: bytes) -> tuple[int, str]:
    """Code and reason of a close message."""
    code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else NORMAL
    return code, data[2:].decode("utf-8", "replace")


def masked(data: bytes, key: bytes) -> bytes:
    """``data`` with the mask put on, or taken off. One large number: the standard library's fastest way to it."""
    size = len(data)
    repeated = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return mixed.to_bytes(size, "little")


class Decoder:
    """Feed it what arrives; it gives the messages that are whole.

    ``limit``: bytes of one message. ``expect_mask``: a server's clients must mask, a client's server must not.
    """

    def __init__(self, *, limit: int, expect_mask: bool) -> None:
        self._limit = limit
        self._expect_mask = expect_mask
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._size = 0
        self._kind = MORE

    def feed(self, data: bytes) -> list[Message]:
        """Raises ``InvalidError`` for what no such peer may send, ``RequestSizeError`` for what is too large."""
        if not self._buffer and self._kind == MORE and (whole := self._alone(data)) is not None:
            return [Message(BINARY, whole)]
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while (frame := self._frame(start)) is not None:
            start, first, payload = frame
            if (message := self._take(first, payload)) is not None:
                messages.append(message)
        if start:
            del self._buffer[:start]
        return messages

    def _alone(self, data: bytes) -> bytes | None:
        """The payload, where ``data`` is just one whole message of bytes, as nearly all are."""
        have, begin = len(data), 6 if self._expect_mask else 2
        if have < 6 or data[0] != _FINAL | BINARY or bool(data[1] & _MASKED) != self._expect_mask:
            return None
        size = data[1] & 0x7F
        if size == 126:
            begin += 2
            size = data[2] << 8 | data[3]
        elif size == 127:
            return None
        if size > self._limit or have != begin + size:
            return None
        return masked(data[begin:], data[begin - 4 : begin]) if self._expect_mask else data[begin:]

    def _frame(self, start: int) -> tuple[int, int, bytes] | None:
        """Where the frame at ``start`` ends, its first byte and its payload; None while it is not whole."""
        buffer, have = self._buffer, len(self._buffer) - start
        if have < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        is_masked, size, at = bool(second & _MASKED), second & 0x7F, start + 2
        self._check(first, is_masked, size)
        if size >= 126:
            width = 2 if size == 126 else 8
            if have < 2 + width:
                return None
            size = int.from_bytes(buffer[at : at + width], "big")
            at += width
        if self._size + size > self._limit:
            raise exception.RequestSizeError(f"a message of more than {self._limit:,} bytes")
        begin = at + 4 if is_masked else at
        if len(buffer) < begin + size:
            return None
        with memoryview(buffer) as view:
            payload = bytes(view[begin : begin + size])
        if is_masked:
            payload = masked(payload, bytes(buffer[at:begin]))
        return begin + size, first, payload

    def _check(self, first: int, is_masked: bool, size: int) -> None:
        kind = first & 0x0F
        if first & 0x70 or kind not in (MORE, TEXT, BINARY, CLOSE, PING, PONG):
            raise exception.InvalidError("malformed WebSocket frame: unknown bits")
        if is_masked != self._expect_mask:
            raise exception.InvalidError("malformed WebSocket frame: masked the wrong way")
        if kind >= CLOSE and (size > _CONTROL or not first & _FINAL):
            raise exception.InvalidError("malformed WebSocket frame: such a control frame must not be")

    def _take(self, first: int, payload: bytes) -> Message | None:
        """A message, when this frame makes one whole. Control frames may come in its midst."""
        kind = first & 0x0F
        if kind >= CLOSE:
            return Message(kind, payload)
        if (kind == MORE) != (self._kind != MORE):
            raise exception.InvalidError("malformed WebSocket frame: a message in the midst of another")
        if not first & _FINAL:
            self._kind = self._kind or kind
            self._parts.append(payload)
            self._size += len(payload)
            return None
        if kind != MORE:
            return Message(kind, payload)
        whole = Message(self._kind, b"".join([*self._parts, payload]))
        self._parts, self._size, self._kind = [], 0, MORE
        return whole
