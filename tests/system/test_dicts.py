"""Dicts and queues between callers, containers and the command line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import sys
import threading
import types

import pytest

import windlass
from programs import shared
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with shared.app.run():
        yield
    for noun, name in ((windlass.Dict, "test-notes"), (windlass.Queue, "test-jobs")):
        noun.objects.delete(name, allow_missing=True)


def test_what_a_container_writes_everybody_reads(stage):
    shared.write.remote("a", {"n": [1, 2, 3]})
    assert shared.notes["a"] == {"n": [1, 2, 3]} and "a" in shared.notes
    assert windlass.Dict.from_name("test-notes").get("a") == {"n": [1, 2, 3]}
    assert windlass.Dict.from_id(shared.notes.object_id).get("a") == {"n": [1, 2, 3]}
    with pytest.raises(KeyError):
        shared.notes["nobody wrote this"]
    with pytest.raises(windlass.exception.NotFoundError, match="test-none"):
        windlass.Dict.from_name("test-none").get("a")


def test_of_several_containers_one_gets_the_lock(stage):
    assert sorted(first for first in shared.first.map(["lock"] * 20)) == [False] * 19 + [True]
    assert shared.notes.pop("lock").startswith("ta-")


def test_large_values_come_back_whole(stage):
    assert shared.large.remote(5_000_000)
    assert len(shared.notes.pop("large")) == 5_000_000
    with pytest.raises(windlass.exception.RequestSizeError, match="limit of 104,857,600"):
        shared.notes["larger"] = b"x" * (100 * 1024 * 1024)


def damage(stage, part: bytes) -> None:
    """Turn bits in each large value that holds ``part``."""
    found = [one for one in (stage.home / "blobs").glob("[0-9a-f][0-9a-f]/*") if part in one.read_bytes()]
    assert found
    for one in found:
        data = one.read_bytes()
        one.write_bytes(data.replace(part, bytes(255 - byte for byte in part)))


def test_a_large_value_that_is_damaged_on_the_disk_is_never_served_and_can_be_stored_again(stage):
    mark = os.urandom(64)
    value = mark + bytes(3_000_000)
    shared.notes["whole"] = value
    damage(stage, mark)
    for read in (lambda: shared.notes["whole"], lambda: shared.same.remote("whole", value)):
        with pytest.raises(windlass.exception.DataLossError, match="no longer what was stored"):
            read()
    shared.notes["whole"] = value
    assert shared.notes["whole"] == value and shared.same.remote("whole", value)
    damage(stage, mark)  # of arguments, too
    for read in (lambda: shared.same.remote("whole", value), lambda: shared.notes["whole"]):
        with pytest.raises(windlass.exception.DataLossError, match="no longer what was stored"):
            read()
    shared.notes["whole"] = value
    assert shared.same.remote("whole", value)
    del shared.notes["whole"]


def test_handles_travel_in_arguments(stage):
    with windlass.Queue.ephemeral() as q, windlass.Dict.ephemeral({"k": "v"}) as d:
        assert shared.through.remote(d, q, "k") is None
        assert q.get(timeout=10) == "v" and d.len() == 0
    again = windlass.Dict.from_name("test-travel", create_if_missing=True)  # by name, before anybody has looked it up
    with windlass.Queue.ephemeral() as q:
        windlass.Dict.from_name("test-travel", create_if_missing=True)["k"] = "w"
        assert shared.through.remote(again, q, "k") == "test-travel" and q.get() == "w"
    windlass.Dict.objects.delete("test-travel")


def test_containers_and_caller_hand_items_over(stage):
    call = shared.answer.spawn(20)
    got = []
    for number in range(20):
        shared.jobs.put(number, partition="questions")
        got.append(shared.jobs.get(timeout=20, partition="answers"))
    assert got == [number**2 for number in range(20)] and call.get(timeout=20) == 20


def test_a_cancelled_or_killed_getter_takes_no_item_with_it(stage):
    cancelled, killed = shared.take.spawn("p"), shared.take.spawn("p")
    until(lambda: _running(shared.take) == 2, 40, "two getters")
    cancelled.cancel()
    until(lambda: _running(shared.take) == 1, 20, "one getter")
    for pid in stage.payloads():
        with contextlib.suppress(ProcessLookupError):  # a container without work may end by itself
            os.kill(pid, signal.SIGKILL)
    shared.jobs.put("once", partition="p")
    assert killed.get(timeout=60) == "once", "by its next attempt"
    assert shared.jobs.len(partition="p") == 0


def _running(function) -> int:
    return function.get_current_stats().num_running_inputs


def test_waiting_gets_end_in_time_and_a_full_queue_says_so(stage):
    with windlass.Queue.ephemeral() as q:
        with pytest.raises(queue.Empty):
            q.get(timeout=0.1)
        for look in (q.get, lambda timeout: q.get_many(3, timeout=timeout)):
            with pytest.raises(queue.Empty):
                look(timeout=0)
        assert q.get(block=False) is None and q.get_many(3, block=False) == []
        q.put_many(range(5000))
        with pytest.raises(queue.Full):
            q.put(1, block=False)
        with pytest.raises(queue.Full):
            q.put(1, timeout=0.1)
        putter = threading.Thread(target=q.put, args=(5000,))
        putter.start()
        assert q.get() == 0
        putter.join(10)
        assert not putter.is_alive() and list(q.iterate()) == list(range(1, 5001))
        for misuse in (lambda: q.len(partition="p", total=True), lambda: q.clear(partition="p", all=True)):
            with pytest.raises(windlass.exception.InvalidError):
                misuse()


def test_an_interrupted_get_loses_nothing(stage):
    async def scene(q) -> list[int]:
        got = []
        for number in range(150):
            getter = asyncio.ensure_future(q.get.aio())
            await asyncio.sleep(number % 5 / 4000)
            putter = asyncio.ensure_future(q.put.aio(number))
            await asyncio.sleep(number % 7 / 5000)
            getter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                got.append(await getter)
            await putter
            if len(got) == number:
                got.append(await q.get.aio(timeout=10))
        return got

    with windlass.Queue.ephemeral() as q:
        assert asyncio.run(scene(q)) == list(range(150)) and q.len() == 0


@contextlib.contextmanager
def of_a_module_that_only_we_have():
    """A value that no other program can unpickle."""
    module = types.ModuleType("only_here")
    module.Odd = type("Odd", (), {"__module__": "only_here"})
    sys.modules["only_here"] = module
    try:
        yield module.Odd()
    finally:
        del sys.modules["only_here"]


def test_the_command_line_shows_and_clears(stage):
    stage.cli("dict", "create", "test-cli", check=0)
    stage.cli("dict", "create", "test-cli", check=0)
    d = windlass.Dict.from_name("test-cli")
    d.update({"a": 1, "b": "two"})
    assert stage.cli("dict", "get", "test-cli", "b", check=0).out == "two\n"
    assert "'c' is not in" in stage.cli("dict", "get", "test-cli", "c", check=1).err
    entries = sorted((one["key"], one["value"]) for one in stage.json("dict", "items", "test-cli", "-r"))
    assert entries == [("'a'", "1"), ("'b'", "'two'")]
    assert "…" in stage.cli("dict", "items", "test-cli", "1", check=0).out
    with of_a_module_that_only_we_have() as odd:
        d["odd"] = odd
    shown = {one["key"]: one["value"] for one in stage.json("dict", "items", "test-cli")}
    assert shown["b"] == "two" and "No module named 'only_here'" in shown["odd"]
    assert "test-cli" in [one["name"] for one in stage.json("dict", "list")]
    assert "--yes" in stage.cli("dict", "clear", "test-cli", check=1).err and d.len() == 3
    stage.cli("dict", "clear", "test-cli", "--yes", check=0)
    assert d.len() == 0
    stage.cli("dict", "delete", "test-cli", "--yes", check=0)
    assert "no dict 'test-cli'" in stage.cli("dict", "delete", "test-cli", "--yes", check=1).err
    stage.cli("dict", "delete", "test-cli", "--allow-missing", "--yes", check=0)


def test_the_command_line_shows_queues(stage):
    stage.cli("queue", "create", "test-cli", check=0)
    q = windlass.Queue.from_name("test-cli")
    q.put_many(["a", "b"])
    q.put("p", partition="p")
    assert stage.cli("queue", "peek", "test-cli", "5", check=0).lines == ["a", "b"]
    assert stage.cli("queue", "peek", "test-cli", "1", "-p", "p", check=0).lines == ["p"]
    assert stage.cli("queue", "len", "test-cli", "-t", check=0).out == "3\n"
    (row,) = [one for one in stage.json("queue", "list") if one["name"] == "test-cli"]
    assert (row["partitions"], row["total_size"]) == (2, 3)
    stage.cli("queue", "clear", "test-cli", "-p", "p", "-y", check=0)
    with of_a_module_that_only_we_have() as odd:
        q.put_many([odd, "last"])
    peeked = stage.cli("queue", "peek", "test-cli", "4", check=0)
    assert "No module named" in peeked.lines[2] and peeked.lines[3] == "last" and "never iterated" not in peeked.err
    assert q.len(total=True) == 4
    assert stage.cli("queue", "clear", "test-cli", "-p", "p", "-a", "-y").code == 2
    stage.cli("queue", "delete", "test-cli", "-y", check=0)
    with pytest.raises(windlass.exception.NotFoundError):
        q.len()
