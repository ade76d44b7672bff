"""Items that are a program's as soon as it has them: none is lost and none given twice, whoever is killed when."""
from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys

import pytest
import uvloop
from keyed import Keyed, named

from conftest import Platform
from windlass import paths
from windlass.kit import ids

PROGRAM = """
import asyncio, os, signal, sys
import windlass
from windlass import wire
from windlass.wire import peer

async def main(socket, client, queue, says):
    _, link = await asyncio.get_running_loop().create_unix_connection(peer.Peer, socket)
    hello = {"role": "user", "protocol": wire.PROTOCOL, "version": windlass.__version__, "client_id": client}
    await link.request("hello", hello)
    body = {"id": queue, "partition": "", "count": 1, "wait": True, "ticket": "t"}
    async for handed in link.stream("queue.get", body):
        assert handed.body["yours"]
        if says == "nothing":
            print("handed", flush=True)
            sys.stdin.read()
        for n in range(20):  # answers that it will not read
            link.post("queue.len", {"id": queue, "partition": "", "total": False})
        print("handed", flush=True)
        sys.stdin.readline()  # the server does nothing from now on until it is dead
        link.post("queue.take", {"id": queue, "hand": "t", "op": 1, "low": 1})
        assert link.flush()
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@contextlib.contextmanager
def program(platform, queue: str, says: str):
    """Another program that is handed an item."""
    argv = [sys.executable, "-c", PROGRAM, str(paths.server_socket(platform.home)), ids.new("cl"), queue, says]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            started.kill()


async def told(started: subprocess.Popen) -> None:
    assert await asyncio.to_thread(started.stdout.readline) == b"handed\n"


def asking(q: Keyed, ticket: str = "t", *, wait: bool = True):
    body = {"id": q.id, "partition": "", "count": 1, "wait": wait, "ticket": ticket}
    return q.client.peer.stream("queue.get", body)


async def again(q: Keyed) -> Keyed:
    """The same client by a new connection."""
    await q.client.start()
    return q


async def cut(platform, q: Keyed) -> None:
    q.client.peer.close()
    while q.client.client_id in platform.core.world.clients:
        await asyncio.sleep(0)


def rows(platform) -> int:
    return platform.core.db.one("SELECT count(*) FROM queue_hand")[0]


def test_an_item_is_in_the_queue_until_its_program_has_said_that_it_has_it(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        for waits in (True, False):  # it waits before the item comes, or comes when it is there
            stream = asking(q)
            waiting = asyncio.ensure_future(anext(stream)) if waits else None
            await q.length()
            await q.push(b"1")
            got = await (waiting or anext(stream))
            assert got.attachments == [b"1"] and got.body["yours"] and got.body["hand"] == "t"
            assert await q.length() == 1 and rows(platform) == 1 and await q.pull() == []
            assert await q.take(got)
            assert await q.length() == 0 and rows(platform) == 0
            await stream.aclose()

    play(scene)


def test_who_is_alive_and_not_heard_keeps_its_item_until_it_speaks_also_over_a_restart(play):
    async def scene(platform):
        q, other = [await named(await platform.client(), "queue") for _ in range(2)]
        await q.push(b"1", b"2")
        got = await anext(asking(q))
        await cut(platform, q)
        assert await other.pull(5) == [b"2"]
        await platform.stop()
        await platform.start()
        await again(other)
        assert await other.pull() == [] and await other.length() == 1
        await again(q)
        assert await q.take(got, op=70, low=70) and await q.take(got, op=70, low=70)
        assert await other.length() == 0 and rows(platform) == 0

    play(scene)


@pytest.mark.parametrize("restarted", [False, True])
def test_who_asks_again_was_handed_nothing_and_who_gives_up_leaves_it_to_the_next_in_line(play, restarted):
    async def scene(platform):
        q, other = [await named(await platform.client(), "queue") for _ in range(2)]
        await q.push(b"1", b"2")
        await anext(asking(q))
        await cut(platform, q)
        if restarted:
            await platform.stop()
            await platform.start()
            await again(other)
        await again(q)
        stream = asking(q)
        assert (await anext(stream)).attachments == [b"1"], "at its old place"
        await cut(platform, q)
        await again(q)
        await q.ask("leave", ticket="t")
        assert await other.pull(5) == [b"1", b"2"] and rows(platform) == 0

    play(scene)


def test_a_cancelled_get_leaves_its_item_and_one_that_was_confirmed_takes_none_with_it(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        await q.push(b"1", b"2")
        stream = asking(q)
        await anext(stream)
        await stream.aclose()
        stream = asking(q)
        got = await anext(stream)
        assert got.attachments == [b"1"]
        asked = q.client.peer.post("queue.take", {"id": q.id, "hand": "t", "op": 80, "low": 80})
        await stream.aclose()
        assert (await asked).body["done"] and await q.pull(5) == [b"2"] and rows(platform) == 0

    play(scene)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_program_that_is_killed_before_it_has_said_anything_loses_no_item(play, restarted):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        await q.push(b"1")
        with program(platform, q.id, "nothing") as started:
            await told(started)
            assert await q.pull() == []
            if restarted:
                await platform.stop()
            started.kill()
            started.wait()
            if restarted:
                await platform.start()
                await again(q)
            async for got in asking(q, "other"):
                assert got.attachments == [b"1"] and await q.take(got)
                break
        assert await q.length() == 0 and rows(platform) == 0

    play(scene)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("writes_first", [False, True])
def test_what_a_program_wrote_before_it_was_killed_is_heard_even_if_a_write_to_it_fails_first(home, run, writes_first):
    async def main() -> None:
        platform = await Platform(home).start()
        try:
            q = await named(await platform.client(), "queue")
            await q.push(b"1")
            with program(platform, q.id, "all") as started:
                await told(started)
                (kept,) = platform.core.queues.kept.values()
                started.stdin.write(b"\n")
                started.stdin.flush()
                started.wait()  # nothing of this loop runs meanwhile
                if writes_first:
                    kept.link.notify("news", {})
                    kept.link.flush()
                while platform.core.queues.kept:
                    await asyncio.sleep(0)
            assert await q.pull() == [] and await q.length() == 0, "it was its own"
        finally:
            await platform.stop()

    async def within() -> None:
        await asyncio.wait_for(main(), 20)

    run(within())
