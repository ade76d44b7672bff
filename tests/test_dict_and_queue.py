"""Handles of dicts and queues: what is refused before anything is asked, and how keys are compared."""

from __future__ import annotations

import asyncio
import pickle
import types

import pytest

import windlass
from windlass import exception
from windlass.client import bridge, faces, line, numbers, session
from windlass.kit import tasks
from windlass.wire import payload, peer


@pytest.mark.parametrize("noun", [windlass.Dict, windlass.Queue])
def test_names_and_ids_are_checked_at_once(noun) -> None:
    for name in ("", "a b", "x" * 65, "ä", None, 3):
        with pytest.raises(exception.InvalidError):
            noun.from_name(name)
    for identity in ("", "fu-0123456789012345678901", None):
        with pytest.raises(exception.InvalidError):
            noun.from_id(identity)
    with pytest.raises(exception.InvalidError, match="directly"):
        noun()


def test_a_handle_that_was_not_looked_up_travels_by_its_name() -> None:
    made = windlass.Dict.from_name("scores", environment_name="dev", create_if_missing=True)
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, again._environment, again._create, again.is_hydrated) == ("scores", "dev", True, False)
    identity = "di-0123456789012345678901"
    assert pickle.loads(pickle.dumps(windlass.Dict.from_id(identity)))._wanted == identity


def test_equal_plain_keys_are_equal_bytes_whatever_objects_they_are_made_of() -> None:
    one = "key " + str(1)
    assert payload.key((one, one)) == payload.key(("key 1", "key " + str(1)))
    assert payload.key("a") != payload.key(b"a") and payload.key(1) != payload.key("1")
    assert pickle.loads(payload.key(("a", ("b", 2)))) == ("a", ("b", 2))
    assert pickle.loads(payload.key(frozenset({1}))) == frozenset({1})


def test_what_is_too_large_or_cannot_be_pickled_is_refused_before_it_is_sent() -> None:
    d, q = windlass.Dict.from_name("d"), windlass.Queue.from_name("q")
    with pytest.raises(exception.RequestSizeError, match="Volume"):
        d["a"] = b"x" * (100 * 1024 * 1024)
    with pytest.raises(exception.RequestSizeError, match="10,001"):
        d.update({n: n for n in range(10_001)})
    with pytest.raises(exception.RequestSizeError):
        q.put(b"x" * (1024 * 1024 + 1))
    for wrong in (lambda: d.put("a", (x for x in ())), lambda: q.put(x for x in ())):
        with pytest.raises(exception.SerializationError, match="generator"):
            wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda q: q.put(1, partition=""),
        lambda q: q.put(1, partition="x" * 65),
        lambda q: q.put(1, partition=3),
        lambda q: q.put(1, partition_ttl=0),
        lambda q: q.get(timeout=-1),
        lambda q: q.get(timeout=float("nan")),
        lambda q: q.put(1, timeout="5"),
        lambda q: q.get_many(0),
        lambda q: q.get_many("3"),
        lambda q: q.get_many(2.5),
        lambda q: q.len(partition="p", total=True),
        lambda q: q.clear(partition="p", all=True),
    ],
)
def test_misuse_of_a_queue_is_an_invalid_error(wrong) -> None:
    with pytest.raises(exception.InvalidError):
        wrong(windlass.Queue.from_name("q"))


def test_a_dict_is_not_iterated_by_asking_for_keys_that_are_numbers() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(windlass.Dict.from_name("d"))  # type: ignore[call-overload]


def test_values_go_in_as_few_steps_as_partitions_and_messages_allow() -> None:
    assert line._pieces([]) == []
    assert [len(piece) for piece in line._pieces([b"x"] * 12_000)] == [5000, 5000, 2000]
    assert [len(piece) for piece in line._pieces([b"x" * 1024 * 1024] * 40)] == [32, 8]


def test_a_result_that_nobody_waits_for_any_more_hears_of_it() -> None:
    dropped = []

    class Result:
        def dropped(self) -> None:
            dropped.append(self)

    async def result() -> Result:
        return Result()

    outcome = bridge.wait(result())
    assert isinstance(outcome.value, Result) and not dropped
    outcome.cancel()
    bridge.run(_nothing())
    assert dropped == [outcome.value]


async def _nothing() -> None:
    pass


def test_the_number_of_a_value_on_its_way_back_stays_open_until_the_server_has_said_whose_it_is(monkeypatch) -> None:
    monkeypatch.setattr(line, "_PATIENCE", 0.01)
    lows = []

    async def scene() -> None:
        asked, answered = asyncio.Semaphore(0), asyncio.Event()

        async def request(method: str, body: object) -> peer.Reply:
            asked.release()
            await answered.wait()
            return peer.Reply({"done": False}, [])

        async with tasks.Tasks() as owner:
            home = types.SimpleNamespace(numbers=numbers.Numbers(), request=request, tasks=owner)
            got = types.SimpleNamespace(query={"id": "qu-1"})
            getting = asyncio.ensure_future(line._take(home, got, "hand"))
            await asyncio.wait_for(asked.acquire(), 5)
            getting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await getting
            with home.numbers.one() as next_one:
                lows.append(next_one["low"])
            answered.set()
            while len(owner):
                await asyncio.sleep(0)
            lows.append(home.numbers.open()["low"])

    asyncio.run(asyncio.wait_for(scene(), 10))
    assert lows == [1, 3]


def test_a_put_that_waits_for_room_keeps_no_number_open_for_which_the_server_would_keep_all_later_answers(
    monkeypatch,
) -> None:
    link = types.SimpleNamespace(begin=lambda *args: 1, flush=lambda: None)
    full = peer.Reply({"done": False}, [])
    home = types.SimpleNamespace(numbers=numbers.Numbers(), at_hand=link, request=lambda *args: _given(full))
    monkeypatch.setattr(session, "current", lambda: home)
    waiting, lows = [], []

    async def waits(put: line.Put) -> None:
        with home.numbers.one() as following:
            lows.append(following["op"] - following["low"])

    monkeypatch.setattr(line.Put, "_when_there_is_room", waits)
    put = line.Put({"id": "qu-1", "partition": ""}, [b"x"])
    put.begin(types.SimpleNamespace(go_on=waiting.append))
    put.over(full, None)
    asyncio.run(waiting.pop())
    asyncio.run(line.Put({"id": "qu-1", "partition": ""}, [b"x"]).patiently())
    assert lows == [0, 0]


async def _given(reply: peer.Reply) -> peer.Reply:
    return reply


def test_keywords_of_a_call_may_have_any_name() -> None:
    """Entries of ``update`` and arguments of functions may be called ``self``."""

    class Noun:
        @faces.method
        async def plain(self, /, **given: int) -> dict[str, int]:
            return given

        @faces.opened
        def opened(self, other: object = None, /, **given: int) -> object:
            return self._sent(given)

        async def _sent(self, given: dict[str, int]) -> object:
            return lambda: given

    noun = Noun()
    assert noun.plain(self=1, args=2) == {"self": 1, "args": 2}
    assert noun.opened(self=1, other=2) == {"self": 1, "other": 2}
