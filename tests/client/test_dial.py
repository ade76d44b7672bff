"""Ways to a platform: proxies that networks demand, and those that stand before a platform which is away."""
from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl

import pytest

from windlass import exception
from windlass.client.remote import dial, keeper, place, proxies, replies, sockets
from windlass.kit import tasks
from windlass.server.objects import certificate


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_proxy_of_the_environment_is_taken_but_not_to_what_is_near(monkeypatch):
    assert proxies.before("gpu.example.org", is_secure=True) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:p%40ss@proxy.corp:3128")
    monkeypatch.setenv("NO_PROXY", "inside.corp")
    assert proxies.before("gpu.example.org", is_secure=True) == ("proxy.corp", 3128, "ada:p@ss")
    assert proxies.before("gpu.example.org", is_secure=False) is None
    for near in ("localhost", "127.0.0.1", "gpu.inside.corp"):
        assert proxies.before(near, is_secure=True) is None
    monkeypatch.setenv("WINDLASS_DISABLE_API_PROXY", "1")
    assert proxies.before("gpu.example.org", is_secure=True) is None
    monkeypatch.delenv("WINDLASS_DISABLE_API_PROXY")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.corp")
    with pytest.raises(OSError, match="no HTTP proxy"):
        proxies.before("gpu.example.org", is_secure=True)


def test_a_certificate_that_is_not_good_at_this_time_has_the_clock_named(monkeypatch, tmp_path):
    monkeypatch.setattr(certificate, "_LIFE", -datetime.timedelta(hours=1))
    path = certificate.made(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(path)

    async def main():
        accept = asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=shown)
        async with await accept as server:
            where = place.read(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            with pytest.raises(exception.AuthError, match=r"this machine's time, \d{4}-.*expired") as caught:
                await dial.connect(where, asyncio.Protocol)
            assert "clock" in caught.value.hint

    asyncio.run(asyncio.wait_for(main(), 5))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.1 407 No\r\n\r\n", b""])
def test_a_connection_through_a_proxy_is_what_the_proxy_makes_of_it(monkeypatch, answer):
    seen = []

    async def came(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if b"200" in answer:
            writer.write(await reader.readexactly(4))
        writer.close()

    class Other(asyncio.Protocol):
        data = b""

        def __init__(self) -> None:
            self.ended = asyncio.Event()

        def data_received(self, data: bytes) -> None:
            self.data += data

        def connection_lost(self, exc: Exception | None) -> None:
            self.ended.set()

    async def main():
        async with await asyncio.start_server(came, "127.0.0.1", 0) as server:
            monkeypatch.setenv("HTTP_PROXY", f"http://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}")
            where = place.read("http://gpu.example.org:8643")
            if b"200" not in answer:
                with pytest.raises(OSError, match="the proxy"):
                    await dial.connect(where, Other)
                return
            transport, other = await dial.connect(where, Other)
            transport.write(b"ping")
            await other.ended.wait()
            assert other.data == b"ping"

    asyncio.run(asyncio.wait_for(main(), 5))
    assert seen[0].startswith(b"CONNECT gpu.example.org:8643 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dTpw\r\n" in seen[0]


def test_what_comes_right_behind_a_handshake_is_not_lost():
    """Also when it comes after the answer was whole and before anybody has looked at it."""

    async def main():
        shaking = sockets._Handshake()
        shaking.data_received(b"HTTP/1.1 101 Switching\r\nWindlass-Server: 1\r\n\r\n\x82")
        shaking.data_received(b"\x01")
        assert (await shaking.answer())[0].code == 101
        shaking.data_received(b"x")
        assert shaking.behind() == b"\x82\x01x"

    asyncio.run(main())


def test_answers_of_proxies_are_told_from_those_of_the_platform():
    assert replies.read_head(b"HTTP/1.1 200 OK\r\nWindlass-Server: 1").is_ours
    with pytest.raises(replies.Absent):
        replies.check(replies.read_head(b"HTTP/1.1 502 Bad Gateway"), b"")
    with pytest.raises(replies.NotPassed) as caught:
        replies.check(replies.read_head(b"HTTP/1.1 403 Forbidden"), b"")
    assert not isinstance(caught.value, replies.Absent)
    with pytest.raises(replies.NotPassed):
        replies.check(replies.read_head(b"HTTP/1.1 426 Upgrade Required\r\nWindlass-Server: 1"), b"{}")
    with pytest.raises(replies.Gone):
        replies.check(replies.read_head(b"HTTP/1.1 410 Gone\r\nWindlass-Server: 1"), b'{"message": "gone"}')
    for nonsense in (b"", b"SSH-2.0", b"HTTP/2 200", b"HTTP/1.1 abc"):
        with pytest.raises(replies.NotPassed):
            replies.read_head(nonsense)


@pytest.mark.parametrize(("secure", "says"), [(True, "does not speak TLS"), (False, "https://")])
def test_an_address_with_the_wrong_beginning_is_told(tmp_path, secure, says):
    """https to what has no TLS ends at once; http to what has is no different from a server that is just starting."""

    async def came(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad\r\n\r\n" if secure else b"")
            writer.close()

    async def main():
        async with await asyncio.start_server(came, "127.0.0.1", 0) as server, tasks.Tasks() as owner:
            port = server.sockets[0].getsockname()[1]
            where = place.read(f"{'https' if secure else 'http'}://127.0.0.1:{port}")
            with pytest.raises(exception.ConnectionError if secure else OSError, match=says) as caught:
                await keeper.connect(where, owner, lambda text: None)
            assert not secure or "http://" in caught.value.hint

    asyncio.run(asyncio.wait_for(main(), 5))
