"""Frames: two lengths, a JSON header, raw attachments.

    header length (4 bytes, big endian) · attachments length (4 bytes) · header · attachments

The header is one JSON object with short keys, because it is on every hot path:

    k  kind, one of the constants below        i  exchange id, chosen by whoever began it
    m  method (to begin an exchange)           b  body: a message of ``windlass.wire.messages``
    a  sizes of the attachments, in order      e  error body (kind ERROR)

Frames follow each other on a stream of bytes: a Unix socket, or a line whose carriers come and go (``wire.tether``).
"""
from __future__ import annotations

import json
import struct

from windlass import exception

TYPE_CHECKING = False  # typing is not imported at run time: every container's start pays for this module
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

Bytes = bytes | bytearray | memoryview

REQUEST, STREAM, NOTICE = "q", "s", "n"  # begin an exchange
REPLY, ITEM, END, ERROR = "r", "i", "z", "e"  # answer it
CANCEL = "c"  # the beginner lost interest

PREFIX = struct.Struct(">II")
MAX_HEADER = 16 * 1024 * 1024
MAX_ATTACHMENTS = 64 * 1024 * 1024
_LARGE = 128 * 1024


class Frame:
    """One frame as it arrived."""

    __slots__ = ("attachments", "header")

    def __init__(self, header: dict[str, Any], attachments: list[bytes]) -> None:
        self.header = header
        self.attachments = attachments

    @property
    def body(self) -> Any:
        """The message in it."""
        return self.header.get("b")


# Made once: ``json`` makes encoders for each call, and looks for white space and guesses encodings as it decodes.
_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_decoder: Any = json.JSONDecoder()
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once
_pieces: Callable[[Any, int], Sequence[str]] | None = None
try:
    _make = json.encoder.c_make_encoder  # type: ignore[attr-defined]
    _pieces = _make(None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, True)
except (AttributeError, TypeError):
    pass  # a Python without it, or with another one


def dumps(header: dict[str, Any]) -> bytes:
    try:
        text = _encoder.encode(header) if _pieces is None else "".join(_pieces(header, 0))
    except RecursionError:  # kept encoders do not look for values within themselves
        text = _encoder.encode(header)
    return text.encode("utf-8", "surrogatepass")


def loads(data: bytes) -> Any:
    text = data.decode("utf-8", "surrogatepass")
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else _decoder.decode(text)


def pack(
    header: dict[str, Any], attachments: Sequence[Bytes] = (), encode: Callable[[dict[str, Any]], bytes] = dumps
) -> list[Bytes]:
    """The pieces of one frame, to be written in order without joining large attachments."""
    if not attachments:
        encoded = encode(header)
        return [PREFIX.pack(len(encoded), 0) + encoded]
    sizes = list(map(len, attachments))
    header["a"] = sizes
    encoded = encode(header)
    total = sum(sizes)
    if total > MAX_ATTACHMENTS or len(encoded) > MAX_HEADER:
        raise exception.RequestSizeError(f"a message of {total + len(encoded):,} bytes is too large for one frame")
    if total < 65536:
        return [b"".join([PREFIX.pack(len(encoded), total), encoded, *attachments])]
    return [PREFIX.pack(len(encoded), total) + encoded, *attachments]


def split(header: dict[str, Any], body: bytes) -> list[bytes]:
    """Cut the attachments out of the bytes behind a header."""
    parts, start, sizes = [], 0, header.get("a", ())
    if not isinstance(sizes, (list, tuple)):
        raise exception.InvalidError("malformed frame: no attachment sizes")
    for size in sizes:
        if not isinstance(size, int) or size < 0:
            raise exception.InvalidError("malformed frame: no attachment size")
        parts.append(body[start : start + size])
        start += size
    if start != len(body):
        raise exception.InvalidError("malformed frame: attachment sizes do not add up")
    return parts


class Decoder:
    """Turns a stream of bytes into frames. Feed it what arrives; it yields what is whole."""

    def __init__(self, decode: Callable[[bytes], Any] = loads) -> None:
        self._buffer = bytearray()
        self._decode = decode
        self._header: dict[str, Any] = {}
        self._parts: list[Bytes] = []
        self._missing = 0
        """Of a frame with large attachments: what has arrived of them, to be joined once, and bytes that have not."""
        self.limit = MAX_HEADER + MAX_ATTACHMENTS
        """Bytes of a frame; less for those of whom nobody knows who they are."""

    def feed(self, data: bytes) -> list[Frame]:
        """Frames completed by ``data``. Raises ``InvalidError`` on what cannot be a frame."""
        frames: list[Frame] = []
        if self._missing:
            if len(data) < self._missing:
                self._parts.append(data)
                self._missing -= len(data)
                return frames
            frames.append(self._whole(data[: self._missing]))
            data, self._missing = data[self._missing :], 0
        buffer: bytes | bytearray = self._buffer
        if buffer:
            self._buffer += data
        else:
            buffer = data  # as nearly always: whole frames, which need not be gathered
        start, end = 0, len(buffer)
        while end - start >= PREFIX.size:
            head, tail = PREFIX.unpack_from(buffer, start)
            if head > MAX_HEADER or tail > MAX_ATTACHMENTS or head + tail > self.limit:
                raise exception.InvalidError("malformed frame: too large")
            begin = start + PREFIX.size
            stop = begin + head + tail
            if end < stop:
                if tail >= _LARGE and end >= begin + head:
                    self._begin(buffer, begin, head, stop)
                    start = end
                break
            header = decode_header(bytes(buffer[begin : begin + head]), self._decode)
            with memoryview(buffer) as view:  # a slice of a gathered one itself would be one copy more
                body = bytes(view[begin + head : stop])
            frames.append(Frame(header, split(header, body) if tail or "a" in header else []))
            start = stop
        if buffer is not self._buffer:
            self._buffer += buffer[start:]
        elif start:
            del self._buffer[:start]
        return frames

    def _begin(self, buffer: bytes | bytearray, start: int, head: int, stop: int) -> None:
        self._header = decode_header(bytes(buffer[start : start + head]), self._decode)
        self._parts = [bytes(buffer[start + head :])]
        self._missing = stop - len(buffer)

    def _whole(self, last: bytes) -> Frame:
        header, parts, self._header, self._parts = self._header, self._parts, {}, []
        return Frame(header, split(header, b"".join([*parts, last])))


def decode_header(data: bytes, decode: Callable[[bytes], Any] = loads) -> dict[str, Any]:
    try:
        header = decode(data)
    except (ValueError, RecursionError) as exc:
        raise exception.InvalidError(f"malformed frame: {exc}") from None
    if not isinstance(header, dict) or not isinstance(header.get("k"), str):
        raise exception.InvalidError("malformed frame: no kind")
    if not isinstance(header.get("i", 0), int):
        raise exception.InvalidError("malformed frame: no exchange")
    return header
