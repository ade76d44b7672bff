"""Dicts at the server's door: what is written, answered once, kept, and let go."""
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib

import fakes
import pytest
from keyed import named

from windlass import exception, paths
from windlass.kit import clock, ids
from windlass.server.apply import dicts
from windlass.server.decide import collections as decisions
from windlass.server.loops import garbage, reaper
from windlass.wire import payload


def test_entries_are_written_read_and_removed(play):
    async def scene(platform):
        d = await named(await platform.client(), "dict")
        assert await d.get(b"k") is None
        assert await d.put(b"k", b"1") and await d.put(b"k", b"2")
        assert await d.get(b"k") == b"2"
        assert not await d.put(b"k", b"3", skip_if_exists=True)
        assert (await d.ask("has", b"k")).body["found"]
        assert await d.pop(b"k") == b"2" and await d.pop(b"k") is None
        assert not (await d.ask("has", b"k")).body["found"]
        assert await d.put(b"k", b"3", skip_if_exists=True)

    play(scene)


def test_of_many_who_put_at_once_if_there_is_none_one_succeeds(play):
    async def scene(platform):
        many = [await named(await platform.client(), "dict") for _ in range(20)]
        won = await asyncio.gather(*(d.put(b"lock", str(n).encode(), skip_if_exists=True) for n, d in enumerate(many)))
        assert won.count(True) == 1
        assert await many[0].get(b"lock") == str(won.index(True)).encode()
        values = await asyncio.gather(*(d.pop(b"lock") for d in many))
        assert sum(value is not None for value in values) == 1

    play(scene)


def test_a_repeated_operation_is_answered_with_what_it_did_the_first_time(play):
    async def scene(platform):
        client = await platform.client()
        d = await named(client, "dict")
        other = await named(await platform.client(), "dict")
        assert await d.put(b"k", b"mine", op=1, low=1)
        assert await other.put(b"k", b"theirs")
        assert await d.put(b"k", b"mine", op=1, low=1) and await d.get(b"k") == b"theirs"
        assert await d.pop(b"k", op=2, low=2) == b"theirs"
        await other.put(b"k", b"new")
        assert await d.pop(b"k", op=2, low=2) == b"theirs" and await d.get(b"k") == b"new"
        await platform.stop()
        await platform.start()
        await client.start()
        assert await d.pop(b"k", op=2, low=2) == b"theirs" and await d.get(b"k") == b"new"
        await d.put(b"x", b"", op=3, low=3)
        assert await d.pop(b"k", op=2, low=2) == b"new", "the receipt went when the client had gone past it"

    play(scene)


def test_an_update_is_whole_and_large(play):
    async def scene(platform):
        d = await named(await platform.client(), "dict")
        entries = [part for n in range(10_000) for part in (b"key %d" % n, b"value %d" % n)]
        await d.change("update", *entries, large=[])
        assert (await d.ask("len")).body["len"] == 10_000
        with pytest.raises(exception.RequestSizeError, match="10,001"):
            await d.change("update", *entries, b"one", b"more", large=[])
        with pytest.raises(exception.InvalidError):
            await d.change("update", b"a", b"1", b"b", large=[])
        with pytest.raises(exception.InvalidError, match="empty"):
            await d.change("update", b"a", b"1", b"", b"2", large=[])
        assert await d.get(b"a") is None, "nothing of an update that was refused"
        found = await d.scan()
        assert dict(zip(found[::2], found[1::2], strict=True)) == dict(zip(entries[::2], entries[1::2], strict=True))
        keys = await d.scan(values=False)
        assert keys == found[::2] and await d.scan(keys[5000], values=False) == keys[5001:]

    play(scene)


def test_cleared_and_deleted_dicts_are_empty_at_once_and_their_rows_go_later(play):
    async def scene(platform):
        core, client = platform.core, await platform.client()
        d = await named(client, "dict")
        await d.change("update", *[part for n in range(1200) for part in (b"%d" % n, b"v")], large=[])
        await d.change("clear")
        assert (await d.ask("len")).body["len"] == 0 and await d.scan() == []
        await d.put(b"new", b"1")
        for _ in range(10):
            garbage.look(core)
            await asyncio.sleep(0)
        assert core.db.one("SELECT count(*) FROM dict_entry") == (1,)
        await d.change("delete", name="n")
        with pytest.raises(exception.NotFoundError):
            await d.get(b"new")
        with pytest.raises(exception.NotFoundError):
            await client.request("dict.delete", name="n", op=99, low=99)
        for _ in range(10):
            garbage.look(core)
            await asyncio.sleep(0)
        assert core.db.one("SELECT (SELECT count(*) FROM dict_entry), (SELECT count(*) FROM content)") == (0, 0)

    play(scene)


def test_names_belong_to_environments_and_end_with_them(play):
    async def scene(platform):
        client = await platform.client()
        await client.request("environment.create", name="dev")
        here, there = await named(client, "dict"), await named(client, "dict", environment="dev")
        assert here.id != there.id and (await named(client, "dict")).id == here.id
        with pytest.raises(exception.AlreadyExistsError):
            await named(client, "dict", create="always")
        with pytest.raises(exception.NotFoundError, match="'gone'"):
            await named(client, "dict", "gone", create="never")
        for name in ("", "a b", "ä", "x" * 65, "../x"):
            with pytest.raises(exception.InvalidError):
                await named(client, "dict", name)
        await client.request("environment.update", name="dev", set_name="test")
        assert (await named(client, "dict", environment="test")).id == there.id
        await client.request("environment.delete", name="test")
        with pytest.raises(exception.NotFoundError):
            await there.get(b"k")
        listed = (await client.request("dict.list", environment=""))["collections"]
        assert [(one["id"], one["name"], one["environment"]) for one in listed] == [(here.id, "n", "main")]

    play(scene)


def test_an_ephemeral_dict_ends_with_its_client_also_over_a_restart(play):
    async def scene(platform):
        client, other = await platform.client(), await platform.client()
        d = await named(client, "dict", None)
        seen = type(d)(other, "dict", d.id)
        await d.put(b"k", b"1")
        assert await seen.get(b"k") == b"1"
        await other.request("dict.close", id=d.id)
        assert await seen.get(b"k") == b"1", "only its own client may end it"
        await platform.stop()
        await platform.start()
        seen.client = await platform.client()
        assert await seen.get(b"k") == b"1"
        platform.core.settings = dataclasses.replace(platform.core.settings, caller_gone=0.1)
        while await _there(seen):
            reaper.look(platform.core)
            await asyncio.sleep(0.01)

    play(scene)


async def _there(d) -> bool:
    try:
        await d.get(b"k")
        return True
    except exception.NotFoundError:
        return False


async def uploaded(client, data: bytes) -> str:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    body = {"upload_id": ids.new("up"), "digest": digest}
    for offset in range(0, len(data), payload.CHUNK):
        chunk = data[offset : offset + payload.CHUNK]
        more = {"offset": offset, "last": offset + len(chunk) == len(data)}
        await client.peer.request("blob.put", {**body, **more}, [chunk])
    return digest


def test_large_values_are_blobs_that_go_with_the_last_entry(play):
    async def scene(platform):
        client, blobs = await platform.client(), platform.core.blobs
        d = await named(client, "dict")
        data = b"x" * 2_000_000
        digest = await uploaded(client, data)
        value = {"blob": digest, "size": len(data)}
        await d.change("put", b"a", value=value)
        await d.change("update", b"b", b"", large=[{"index": 0, "blob": digest, "size": 1}])
        assert (await d.ask("get", b"b")).body["value"] == value
        await d.put(b"a", b"small")
        assert blobs.has(digest)
        assert (await d.change("pop", b"b", op=50, low=50)).body["value"] == value
        assert blobs.has(digest), "until its client has read it"
        await d.change("pop", b"b", op=51, low=51)
        assert not blobs.has(digest)
        with pytest.raises(exception.ConflictError, match="not uploaded"):
            await d.change("put", b"a", value=value, op=52)
        with pytest.raises(exception.RequestSizeError):
            await d.put(b"a", data, op=53)
        assert await d.get(b"a") == b"small"

    play(scene)


def test_entries_that_nobody_uses_are_gone_after_a_week_and_reads_are_rarely_written(play):
    async def scene(platform):
        core = platform.core
        now = core.clock.now()
        core.clock = _Clock(now)
        d = await named(await platform.client(), "dict")
        for key in (b"read", b"seen", b"old"):
            await d.put(key, b"1")

        def used() -> dict[bytes, float]:
            return dict(core.db.all("SELECT key, used_at FROM dict_entry"))

        made = used()
        for _ in range(100):
            core.clock.at += 60
            assert await d.get(b"read") == b"1"
        assert used() == made, "a read is no write"
        core.clock.at = late = now + 5 * decisions.DAY
        assert await d.get(b"read") == b"1" and (await d.ask("has", b"seen")).body["found"]
        assert used() == {**made, b"read": late, b"seen": late}, "but once in a while"
        core.clock.at = now + 8 * decisions.DAY
        assert await d.get(b"old") is None and not (await d.ask("has", b"old")).body["found"]
        assert await d.scan(values=False) == [b"read", b"seen"] and (await d.ask("len")).body["len"] == 2
        assert await d.put(b"old", b"2", skip_if_exists=True)
        await d.pop(b"old")
        core.clock.at = now + 14 * decisions.DAY
        dicts.Walk().step(core)
        await asyncio.sleep(0)
        assert core.db.one("SELECT count(*) FROM dict_entry") == (0,)

    play(scene)


class _Clock(clock.SystemClock):
    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at

    def now(self) -> float:
        return self.at

    def follow(self) -> float:
        return 0.0


@pytest.mark.parametrize("sizes", [(0, 1), (decisions.MOST_KEY + 1, 1)])
def test_keys_that_are_empty_or_too_large_are_refused(play, sizes):
    async def scene(platform):
        d = await named(await platform.client(), "dict")
        with pytest.raises((exception.InvalidError, exception.RequestSizeError)):
            await d.put(b"k" * sizes[0], b"v")
        for method in ("get", "has", "pop", "put", "update"):
            with contextlib.suppress(exception.InvalidError):
                await d.change(method, large=[], value={"at": 7, "size": 1})
        assert await d.put(b"k", b"v") and await d.get(b"k") == b"v"

    play(scene)


def test_expiry_is_never_early():
    rule = decisions.Expiry(keep=100.0, grain=10.0)
    assert not rule.is_due(0.0, 10.0) and rule.is_due(0.0, 10.1)
    # Read at 10, which was not written down: it must live until 110.
    assert not rule.is_gone(0.0, 109.9) and rule.is_gone(0.0, 110.0)


def test_containers_share_dicts_and_queues_with_users(play):
    async def scene(platform):
        worker, client = await platform.worker(lambda args, kwargs, lease: args[0]), await platform.client()
        function = await client.app()
        await client.run(function, [1])
        (runner,) = worker.runners.values()
        inside = fakes.Client(platform.home)
        inside.peer = await fakes.connect(
            paths.containers_socket(platform.home), role="container", client_id=inside.client_id,
            container_id=runner.plan["container_id"], token=runner.plan["token"],
        )  # fmt: skip
        here, there = await named(client, "dict"), await named(inside, "dict")
        assert here.id == there.id and await there.put(b"k", b"1") and await here.get(b"k") == b"1"
        line, same = await named(client, "queue"), await named(inside, "queue")
        await line.push(b"1")
        assert await same.pull() == [b"1"]
        with pytest.raises(exception.PermissionDeniedError):
            await runner.peer.request("dict.get", {"id": here.id}, [b"k"])

    play(scene)
