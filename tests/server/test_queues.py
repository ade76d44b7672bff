"""Queues at the server's door: in order, first come first served, and no item lost or given twice."""
from __future__ import annotations

import asyncio
import contextlib

import pytest
from keyed import named

from windlass import exception
from windlass.server.apply import queues
from windlass.server.decide import collections as decisions
from windlass.server.loops import garbage


async def handed(stream):
    """What a waiting getter is handed, or None when its stream ends."""
    return await anext(stream, None)


def start(coro) -> asyncio.Task:
    return asyncio.get_running_loop().create_task(coro)


def test_items_come_in_the_order_in_which_they_were_put(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        assert await q.push(b"1") and await q.push(b"2", b"3")
        assert await q.length() == 3
        assert await q.pull() == [b"1"] and await q.pull(10) == [b"2", b"3"] and await q.pull() == []
        assert await q.push(b"p", partition="eu") and await q.length() == 0
        assert await q.length(partition="eu") == 1 and await q.length(total=True) == 1
        assert await q.pull(partition="eu") == [b"p"]

    play(scene)


def test_who_waits_longest_gets_the_next_item(play):
    async def scene(platform):
        many = [await named(await platform.client(), "queue") for _ in range(12)]
        lines = [q.waiting() for q in many]
        waiting = []
        for line in lines:
            waiting.append(start(handed(line)))
            await many[0].length()  # the one after the other
            await asyncio.sleep(0)
        for n in range(12):
            await many[0].push(b"%d" % n)
        got = [(await task).attachments for task in waiting]
        assert got == [[b"%d" % n] for n in range(12)]
        for line in lines:
            await line.aclose()

    play(scene)


def test_an_item_whose_getter_dies_before_it_confirmed_goes_to_the_next_in_line(play):
    async def scene(platform):
        dying, next_one, putter = [await named(await platform.client(), "queue") for _ in range(3)]
        await putter.push(b"1", b"2")
        first = dying.waiting()
        assert (await handed(first)).attachments == [b"1"]
        dying.client.peer.close()
        while platform.core.queues.hands:
            await asyncio.sleep(0)
        assert await next_one.pull(2) == [b"1", b"2"], "at its old place"
        assert await putter.length() == 0

    play(scene)


def test_a_getter_that_dies_or_leaves_while_it_waits_takes_nothing_with_it(play):
    async def scene(platform):
        dying, leaving, last = [await named(await platform.client(), "queue") for _ in range(3)]
        lines = [q.waiting() for q in (dying, leaving, last)]
        tasks = []
        for q, line in zip((dying, leaving, last), lines, strict=True):
            tasks.append(start(handed(line)))
            await asyncio.sleep(0)
            await q.length()
        dying.client.peer.close()
        tasks[1].cancel()
        with contextlib.suppress(asyncio.CancelledError, exception.ServiceError):
            await tasks[1]
        await lines[1].aclose()
        await leaving.length()
        await last.push(b"only")
        got = await tasks[2]
        assert got.attachments == [b"only"] and await last.take(got)
        with contextlib.suppress(exception.ServiceError):
            await tasks[0]

    play(scene)


def test_what_was_confirmed_is_gone_and_what_went_back_cannot_be_confirmed(play):
    async def scene(platform):
        one, other = [await named(await platform.client(), "queue") for _ in range(2)]
        await one.push(b"1")
        line = one.waiting()
        got = await handed(line)
        assert not await other.take(got), "only who has it may take it"
        await line.aclose()
        line = other.waiting()
        again = await handed(line)
        assert again.attachments == [b"1"]
        assert not await one.take(got), "somebody else has it now"
        assert await other.take(again, op=70, low=70) and await other.take(again, op=70, low=70)
        assert await handed(line) is None and await one.length() == 0

    play(scene)


def test_a_repeated_put_puts_once(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        for _ in range(3):
            assert await q.push(b"1", op=1, low=1)
        assert await q.length() == 1

    play(scene)


def test_taken_items_that_nobody_could_use_go_where_they_were(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        await q.push(b"1", b"2", b"3")
        line = q.waiting(2)
        got = await handed(line)
        assert got.attachments == [b"1", b"2"] and await q.take(got)
        back = {"partition": "", "part": got.body["part"], "seqs": got.body["seqs"]}
        await q.change("back", *got.attachments, **back, op=80, low=80)
        await q.change("back", *got.attachments, **back, op=80, low=80)
        assert await q.length() == 3 and await q.pull(9) == [b"1", b"2", b"3"]
        await q.change("back", b"x", **{**back, "seqs": [999]})
        await q.change("clear", partition="", all=False)
        await q.push(b"9")
        await q.change("clear", partition="", all=False)
        await q.change("back", *got.attachments, **back)
        assert await q.length() == 0, "cleared since"

    play(scene)


def test_a_full_partition_takes_nothing_until_there_is_room_and_tells_the_first_who_waits(play):
    async def scene(platform):
        q, other = [await named(await platform.client(), "queue") for _ in range(2)]
        assert await q.push(*[b"x"] * (decisions.MOST_ITEMS - 1))
        assert not await q.push(b"1", b"2") and await q.push(b"1") and not await q.push(b"2")
        assert await q.push(b"2", partition="other"), "each has room of its own"
        body = {"id": q.id, "partition": "", "count": 2}
        first, second = (one.client.peer.stream("queue.room", body) for one in (q, other))
        told = [start(handed(first))]
        await q.length()
        told.append(start(handed(second)))
        await q.pull(3)
        assert (await told[0]).body == {} and not told[1].done()
        q.client.peer.close()  # told of the room, it dies without using it
        assert (await told[1]).body == {}
        assert await other.push(b"3", b"4")
        await second.aclose()

    play(scene)


def test_partitions_are_emptied_after_their_time(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        await q.push(b"1", ttl=0.05)
        await q.push(b"2", ttl=0.05, partition="p")
        await q.push(b"3", ttl=60.0, partition="q")
        await asyncio.sleep(0.06)
        assert await q.length() == 0 and await q.pull(partition="p") == []
        assert await q.length(total=True) == 1
        assert (await q.ask("figures")).body == {"partitions": 1, "total": 1}
        queues.Walk().step(platform.core)
        for _ in range(10):
            garbage.look(platform.core)
            await asyncio.sleep(0)
        assert platform.core.db.one("SELECT count(*) FROM queue_item") == (1,)
        assert platform.core.db.one("SELECT count(*) FROM queue_partition") == (1,)
        await q.push(b"4", ttl=1.0)
        await q.push(b"5", ttl=60.0)
        await asyncio.sleep(1.1)
        assert await q.pull(2) == [b"4", b"5"], "each put begins the time anew"

    play(scene)


def test_those_who_wait_go_on_waiting_when_the_queue_is_cleared_and_hear_when_it_is_deleted(play):
    async def scene(platform):
        q, other = [await named(await platform.client(), "queue") for _ in range(2)]
        line = q.waiting()
        task = start(handed(line))
        await other.push(b"p", partition="p")
        await other.change("clear", partition="", all=True)
        assert await other.length(total=True) == 0
        await other.push(b"1")
        got = await task
        assert got.attachments == [b"1"] and await q.take(got)
        task = start(handed(q.waiting()))
        await other.length()
        await other.change("delete", name="n")
        with pytest.raises(exception.NotFoundError, match="deleted"):
            await task
        with pytest.raises(exception.NotFoundError):
            await other.push(b"2")

    play(scene)


def test_looking_leaves_everything_where_it_is_and_may_wait_for_more(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        values = [b"%d" % n for n in range(1500)]
        await q.push(*values)
        body = {"id": q.id, "partition": "", "after": 0, "follow": False}
        seen = []
        async for page in q.client.peer.stream("queue.look", body):
            seen += page.attachments
            last = page.body["last"]
        assert seen == values and await q.length() == 1500
        pages = q.client.peer.stream("queue.look", {**body, "after": last, "follow": True})
        task = start(handed(pages))
        await q.length()
        await q.push(b"new")
        assert (await task).attachments == [b"new"]
        await pages.aclose()

    play(scene)


def test_what_is_no_item_or_partition_is_refused(play):
    async def scene(platform):
        q = await named(await platform.client(), "queue")
        with pytest.raises(exception.RequestSizeError):
            await q.push(b"x" * (decisions.MOST_ITEM + 1))
        with pytest.raises(exception.InvalidError, match="64"):
            await q.push(b"x", partition="ä" * 33)
        with pytest.raises(exception.InvalidError):
            await q.push(b"x", ttl=0.0)
        with pytest.raises(exception.InvalidError):
            await handed(q.waiting(0))
        with pytest.raises(exception.InvalidError):
            await q.change("back", b"x", partition="", part=1, seqs=[])
        assert await q.push(b"x", partition="ä" * 32) and await q.push() and await q.length(total=True) == 1

    play(scene)


def test_there_are_no_more_partitions_than_the_limit_but_empty_ones_do_not_count(play, monkeypatch):
    monkeypatch.setattr(decisions, "MOST_PARTITIONS", 3)

    async def scene(platform):
        q = await named(await platform.client(), "queue")
        for n in range(3):
            assert await q.push(b"x", partition=f"p{n}")
        with pytest.raises(exception.ResourceExhaustedError, match="3 partitions"):
            await q.push(b"x", partition="one more")
        await q.pull(partition="p1")
        assert await q.push(b"x", partition="one more") and await q.length(total=True) == 3

    play(scene)


def test_many_who_put_and_get_at_once_lose_nothing_and_get_nothing_twice(play):
    async def scene(platform):
        core = platform.core
        qs = [await named(await platform.client(), "queue") for _ in range(8)]
        got: list[bytes] = []

        async def getter(q, n):
            while len(got) < 800:
                line = q.waiting(1 + n % 3)
                try:
                    one = await asyncio.wait_for(handed(line), 0.2)
                    if one is not None and n % 2 and len(got) % 7 == 0:
                        continue  # leaves without confirming
                    if one is not None and await q.take(one):
                        got.extend(one.attachments)
                except asyncio.TimeoutError:
                    pass
                finally:
                    await line.aclose()

        async def putter(q, n):
            for i in range(200):
                await q.push(b"%d %d" % (n, i))

        await asyncio.gather(
            *(getter(q, n) for n, q in enumerate(qs[:4])), *(putter(q, n) for n, q in enumerate(qs[4:]))
        )
        assert sorted(got) == sorted(b"%d %d" % (n, i) for n in range(4) for i in range(200))
        assert await qs[0].length() == 0 and not core.queues.hands

    play(scene)


def test_partitions_that_nobody_deals_with_are_not_remembered_and_the_others_are(play, monkeypatch):
    from windlass.server.state import queues as state

    monkeypatch.setattr(state, "_REMEMBERED", 5)

    async def scene(platform):
        platform.core.queues = state.Queues()
        q = await named(await platform.client(), "queue")
        line = q.waiting(partition="waits")
        task = start(handed(line))
        for n in range(50):
            await q.push(b"%d" % n, partition=f"p{n}")
        assert platform.core.queues.size <= 12
        for n in range(50):
            assert await q.pull(partition=f"p{n}") == [b"%d" % n]
        await q.push(b"x", partition="waits")
        assert (await task).attachments == [b"x"]
        await line.aclose()

    play(scene)


def test_a_thousand_getters_in_one_line_are_served_in_order(play):
    async def scene(platform):
        q, putter = [await named(await platform.client(), "queue") for _ in range(2)]
        lines = [q.waiting() for _ in range(1000)]
        tasks = [start(handed(line)) for line in lines]
        await q.length()
        await putter.push(*[b"%d" % n for n in range(1000)])
        got = [(await task).attachments[0] for task in tasks]
        assert got == [b"%d" % n for n in range(1000)]
        assert await putter.length() == 1000, "not confirmed yet"
        for line in lines[::-1]:
            await line.aclose()
        assert await putter.pull(1000) == [b"%d" % n for n in range(1000)], "back in their order"

    play(scene)
