"""WebSocket frames: what one end writes the other reads, however it was cut; what must not be is refused."""
from __future__ import annotations

import random

import pytest

from windlass import exception
from windlass.wire import websocket

LIMIT = 300_000


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    places = sorted(chance.choices(range(len(data) + 1), k=5))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_001])
@pytest.mark.parametrize("mask", [True, False])
def test_messages_of_any_size_arrive_as_they_were_sent(size, mask):
    chance = random.Random(size)
    data = chance.randbytes(size)
    decoder = websocket.Decoder(limit=LIMIT, expect_mask=mask)
    wire = websocket.encode(data, mask=mask) + websocket.encode(b"?", websocket.PING, mask=mask)
    found = [message for piece in cut(wire, chance) for message in decoder.feed(piece)]
    assert found == [(websocket.BINARY, data), (websocket.PING, b"?")]
    assert decoder.feed(websocket.encode(data, mask=mask)) == [(websocket.BINARY, data)]


def test_the_answer_to_a_key_is_that_of_the_standard():
    assert websocket.accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_message_in_fragments_with_a_ping_between_is_put_together():
    decoder = websocket.Decoder(limit=LIMIT, expect_mask=False)
    wire = b"\x02\x02ab" + websocket.encode(b"", websocket.PING) + b"\x00\x01c" + b"\x80\x01d"
    assert decoder.feed(wire) == [(websocket.PING, b""), (websocket.BINARY, b"abcd")]


@pytest.mark.parametrize(
    "wire",
    [
        b"\x82\x01a",  # not masked
        b"\xc2\x80\0\0\0\0",  # a bit of an extension
        b"\x83\x80\0\0\0\0",  # an unknown kind
        b"\x80\x80\0\0\0\0",  # goes on with nothing
        b"\x09\x80\0\0\0\0",  # a ping in fragments
        b"\x89\xfe\0\x7e",  # a long ping
        b"\x02\x80\0\0\0\0\x82\x80\0\0\0\0",  # a message in the midst of another
    ],
)
def test_what_no_client_may_send_is_refused(wire):
    with pytest.raises(exception.InvalidError):
        websocket.Decoder(limit=LIMIT, expect_mask=True).feed(wire)


def test_one_that_comes_alone_is_measured_and_refused_like_any_other():
    for mask in (True, False):
        decoder = websocket.Decoder(limit=10, expect_mask=mask)
        with pytest.raises(exception.RequestSizeError):
            decoder.feed(websocket.encode(b"abcdefghijk", mask=mask))
        with pytest.raises(exception.InvalidError):
            websocket.Decoder(limit=10, expect_mask=mask).feed(websocket.encode(b"abcdefgh", mask=not mask))
    decoder = websocket.Decoder(limit=LIMIT, expect_mask=False)
    assert decoder.feed(b"\x82\x7e") == decoder.feed(b"\0") == []
    assert decoder.feed(b"\x80" + b"a" * 128) == [(websocket.BINARY, b"a" * 128)]
    assert decoder.feed(b"\x02\x01a") == [] and decoder.feed(b"\x80\x01b") == [(websocket.BINARY, b"ab")]


def test_a_message_that_is_too_large_is_refused_before_it_arrives():
    with pytest.raises(exception.RequestSizeError):
        websocket.Decoder(limit=LIMIT, expect_mask=False).feed(b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"))
    parts = websocket.Decoder(limit=10, expect_mask=False)
    parts.feed(b"\x02\x06abcdef")
    with pytest.raises(exception.RequestSizeError):
        parts.feed(b"\x80\x06abcdef")


def test_an_end_says_why():
    decoder = websocket.Decoder(limit=LIMIT, expect_mask=True)
    [(kind, data)] = decoder.feed(websocket.end(websocket.PROTOCOL, "é" * 100, mask=True))
    code, reason = websocket.read_end(data)
    assert (kind, code, reason) == (websocket.CLOSE, websocket.PROTOCOL, "é" * 61)
