"""What listens on this machine's loopback is passed on to build steps."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from windlass.worker.images import relay


@pytest.mark.parametrize(
    "value, found",
    [
        ("http://127.0.0.1:3128", {("127.0.0.1", 3128)}),
        ("http://user:pw@localhost:8080/simple https://pypi.org/simple", {("127.0.0.1", 8080)}),
        ("https://127.0.0.53/simple", {("127.0.0.53", 443)}),
        ("http://[::1]:81/", {("::1", 81)}),
        ("socks5h://localhost", {("127.0.0.1", 1080)}),
        ("localhost:3128", {("127.0.0.1", 3128)}),
        ('Acquire::http::Proxy "http://127.0.0.1:3142/";', {("127.0.0.1", 3142)}),
        ("http://10.0.0.1:3128", set()),
        ("http://localhost.example", set()),
        ("http://127.0.0.1:port/", set()),
        ("/etc/ssl/ca.pem", set()),
        ("", set()),
    ],
)
def test_places_on_loopback_are_recognised(value: str, found: set[tuple[str, int]]) -> None:
    assert relay.places([value]) == found


async def shouting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read()).upper())
    writer.close()


def target(kind: int) -> socket.socket:
    """A socket whose connections end at 127.0.0.1, wherever they are meant to go: the machine, seen from the node."""

    class There(socket.socket):
        def connect(self, address: tuple[str, int]) -> None:
            super().connect(("127.0.0.1", address[1]))

    return There(kind)


def test_bytes_pass_both_ways_until_each_side_has_ended() -> None:
    async def run() -> bytes:
        async with await asyncio.start_server(shouting, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            relays, place = relay.Relays(target), relay.Place("127.0.0.2", port)
            async with relays.open([place], print), relays.open([place], print):
                reader, writer = await asyncio.open_connection("127.0.0.2", port)
                with contextlib.closing(writer):
                    writer.write(b"x" * 1_000_000)
                    writer.write_eof()
                    got = await asyncio.wait_for(reader.read(), 10)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.2", port)
            return got

    assert asyncio.run(run()) == b"X" * 1_000_000


def test_a_service_that_is_not_there_is_a_closed_connection() -> None:
    async def run() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        async with relay.Relays(target).open([relay.Place("127.0.0.2", port)], print):
            reader, writer = await asyncio.open_connection("127.0.0.2", port)
            with contextlib.closing(writer):
                return await asyncio.wait_for(reader.read(), 10)

    assert asyncio.run(run()) == b""


def test_a_place_that_is_taken_is_told_and_nothing_else_fails() -> None:
    async def run() -> list[str]:
        said: list[str] = []
        with socket.create_server(("127.0.0.2", 0)) as server:
            place = relay.Place("127.0.0.2", server.getsockname()[1])
            async with relay.Relays(target).open([place], said.append):
                return said

    (line,) = asyncio.run(run())
    assert "127.0.0.2:" in line and "cannot be passed on" in line and "in use" in line
