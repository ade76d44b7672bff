"""Names in the first bytes of TLS."""

from __future__ import annotations

import asyncio
import random
import ssl

import pytest

from windlass.worker import domains, hello


def spoken(name: str | None, **settings: object) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    for key, value in settings.items():
        setattr(context, key, value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def made(*extensions: tuple[int, bytes]) -> bytes:
    """A ClientHello by hand, as a handshake message."""
    inner = b"".join(kind.to_bytes(2, "big") + vector(body, 2) for kind, body in extensions)
    body = b"\3\3" + bytes(32) + vector(b"", 1) + vector(b"\x13\x01", 2) + vector(b"\0", 1) + vector(inner, 2)
    return b"\1" + vector(body, 3)


def records(message: bytes, size: int = 16384) -> bytes:
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\3\1" + vector(piece, 2) for piece in pieces)


def sni(*names: bytes) -> tuple[int, bytes]:
    return 0, vector(b"".join(b"\0" + vector(name, 2) for name in names), 2)


def test_the_name_of_a_real_client_is_found_in_small_letters() -> None:
    assert hello.name(spoken("API.Example.com")) == "api.example.com"
    old = spoken("example.com", maximum_version=ssl.TLSVersion.TLSv1_2)
    assert hello.name(old) == "example.com"


def test_a_hello_is_awaited_byte_by_byte_and_in_many_records() -> None:
    whole = spoken("example.com")
    assert all(hello.name(whole[:size]) is None for size in range(len(whole)))
    split = records(made(sni(b"example.com")), 1)
    assert hello.name(split) == "example.com"
    assert all(hello.name(split[:size]) is None for size in range(len(split)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "does not speak TLS"), (b"SSH-2.0", "does not speak TLS"),
        (b"\x80\x2e\x01\x00\x02", "does not speak TLS"), (b"\x16\x03\x01\x00\x00", "does not speak TLS"),
        (b"\x16\x03\x01\xff\xff", "does not speak TLS"), (b"\x15\x03\x01\x00\x02\x02\x28", "does not speak TLS"),
        (records(b"\2" + vector(b"x", 3)), "does not begin with a ClientHello"),
        (records(b"\1\xff\xff\xff"), "too long"), (records(made()), "names no server"),
        (records(made((0xFFCE, b"encrypted"))), "names no server"), (records(b"\1" + vector(b"short", 3)), "malformed"),
        (records(made(sni(b"a.test", b"b.test"))), "malformed"), (records(made(sni(b"a.test"), sni(b"b.test"))), "two"),
        (records(made(sni(b""))), "cannot be"), (records(made(sni(b"a..b"))), "cannot be"),
        (records(made(sni(b"\xff.test"))), "cannot be"), (records(made(sni(b"a.test\0.b.test"))), "cannot be"),
        (records(made((0, b""))), "malformed"), (records(made((0, vector(b"\0\0\x09x", 2)))), "malformed"),
    ],
)  # fmt: skip
def test_what_names_nobody_is_refused_with_a_reason(data: bytes, why: str) -> None:
    with pytest.raises(hello.NotTls, match=why):
        hello.name(data)


def test_of_an_encrypted_hello_the_outer_name_counts() -> None:
    assert hello.name(records(made((0xFE0D, b"\0encrypted inner"), sni(b"outer.test")))) == "outer.test"


def test_a_long_hello_in_tiny_records_ends_at_the_limit() -> None:
    data = records(made((21, bytes(60_000)), sni(b"example.com")), 1)
    assert hello.name(data[:600]) is None
    with pytest.raises(hello.NotTls, match="too many pieces"):
        hello.name(data[:1000])
    for size in (1000, 16384):
        assert hello.name(records(made((21, bytes(60_000)), sni(b"example.com")), size)) == "example.com"


def test_the_relay_does_not_listen_to_a_client_that_dribbles() -> None:
    async def scene() -> None:
        reader = asyncio.StreamReader()
        asking = asyncio.ensure_future(domains._greeting(reader))
        for byte in records(made((21, bytes(4000)), sni(b"example.com"))):
            reader.feed_data(bytes([byte]))
            await asyncio.sleep(0)
        with pytest.raises(domains._Refused, match="too many pieces"):
            await asking

    asyncio.run(scene())


def test_no_bytes_make_it_fail_otherwise() -> None:
    chance = random.Random(8446)
    seeds = [spoken("example.com"), records(made(sni(b"example.com"), (0xFE0D, b"x"))), records(made(sni(b"a.b")), 7)]
    for _ in range(4000):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data))
            what = chance.randrange(3)
            if what == 0:
                data[at] = chance.randrange(256)
            elif what == 1:
                del data[at : at + chance.randrange(1, 9)]
            else:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            if not data:
                break
        try:
            found = hello.name(bytes(data))
        except hello.NotTls:
            continue
        assert found is None or found
