"""Two peers over a real socket: exchanges, streams, errors, cancellation, loss."""
from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from windlass import exception
from windlass.wire import peer as peers


@contextlib.asynccontextmanager
async def connected(serve):
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    _, client = await loop.create_connection(peers.Peer, sock=left)
    _, server = await loop.create_connection(lambda: peers.Peer(serve), sock=right)
    try:
        yield client, server
    finally:
        client.close()
        server.close()
        await asyncio.sleep(0)


def run(coro):
    return asyncio.run(asyncio.wait_for(coro, 10))


def test_a_request_gets_its_own_answer_with_attachments():
    async def main():
        async with connected(lambda call: call.reply({"echo": call.body}, call.attachments)) as (client, _):
            answers = await asyncio.gather(*(client.request("m", n, [bytes([n])]) for n in range(50)))
            assert [(a.body["echo"], a.attachments) for a in answers] == [(n, [bytes([n])]) for n in range(50)]

    run(main())


def test_a_stream_yields_items_in_order_and_ends():
    def serve(call):
        for n in range(5):
            call.item(n)
        call.end()

    async def main():
        async with connected(serve) as (client, _):
            assert [item.body async for item in client.stream("count", None)] == [0, 1, 2, 3, 4]

    run(main())


def test_errors_arrive_as_their_class_with_message_and_hint():
    def serve(call):
        call.item("first")
        call.fail(exception.NotFoundError("no such app", hint="list them"))

    async def main():
        async with connected(serve) as (client, _):
            seen = []
            with pytest.raises(exception.NotFoundError, match="no such app") as caught:
                async for item in client.stream("s", None):
                    seen.append(item.body)
            assert seen == ["first"] and caught.value.hint == "list them"

    run(main())


def test_leaving_a_stream_early_cancels_it_at_the_other_end():
    cancelled = asyncio.Event()

    def serve(call):
        call.on_cancel = cancelled.set
        call.item(1)

    async def main():
        async with connected(serve) as (client, _):
            stream = client.stream("s", None)
            assert (await stream.__anext__()).body == 1
            await stream.aclose()
            await cancelled.wait()

    run(main())


def test_a_lost_connection_fails_what_waits_and_cancels_what_is_served():
    served = []

    async def main():
        async with connected(served.append) as (client, server):
            waiting = asyncio.ensure_future(client.request("m", None))
            await asyncio.sleep(0.05)
            lost = asyncio.Event()
            served[0].on_cancel = lost.set
            client._transport.abort()
            with pytest.raises(exception.ServiceError):
                await waiting
            await lost.wait()
            assert not server.connected

    run(main())


def test_both_ends_may_begin_exchanges_at_once():
    async def main():
        async with connected(lambda call: call.reply("from b")) as (client, server):
            client._serve = lambda call: call.reply("from a")
            a, b = await asyncio.gather(client.request("x", None), server.request("y", None))
            assert (a.body, b.body) == ("from b", "from a")

    run(main())


def test_noise_closes_the_connection_and_nothing_else():
    async def main():
        async with connected(lambda call: call.reply(None)) as (client, server):
            client._transport.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
            while server.connected:
                await asyncio.sleep(0.01)

    run(main())
