from __future__ import annotations

import asyncio
import itertools
import sys
import time
import warnings

import pytest

from windlass import exception
from windlass.client import map as maps


def square(x, plus=0):
    if x == 13:
        raise ValueError("thirteen")
    return x * x + plus


def test_results_come_in_the_order_of_the_inputs(platform, handle):
    platform(square)
    assert list(handle.map(range(500, 800))) == [x * x for x in range(500, 800)]


def test_several_iterables_are_zipped_and_the_shortest_ends_the_map(platform, handle):
    platform(lambda a, b, plus: a + b + plus)
    assert list(handle.map([1, 2, 3], itertools.count(10), kwargs={"plus": 100})) == [111, 113, 115]


def test_starmap_unpacks_each_item(platform, handle):
    platform(lambda a, b: a - b)
    assert list(handle.starmap([(5, 1), (7, 2)])) == [4, 5]


def test_an_empty_map_ends_at_once_and_asks_nobody(platform, handle):
    served = platform(square)
    assert list(handle.map([])) == []
    assert served.methods() == []


def test_an_endless_iterator_is_read_only_so_far_ahead(platform, handle):
    platform(square)
    pulled = []
    results = handle.map(pulled.append(x) or x for x in itertools.count(20))
    assert [next(results) for _ in range(30)] == [x * x for x in range(20, 50)]
    assert len(pulled) <= 30 + maps.WINDOW
    results.close()


def test_the_first_failure_is_raised_and_the_rest_is_cancelled(platform, handle):
    served = platform(square)
    with pytest.raises(ValueError, match="thirteen"):
        list(handle.map(x for x in itertools.count(1)))
    deadline = time.monotonic() + 5
    while "call.cancel" not in served.methods() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "call.cancel" in served.methods()


def test_exceptions_take_the_place_of_results_where_asked(platform, handle):
    platform(square)
    results = list(handle.map([12, 13, 14], return_exceptions=True))
    assert results[0] == 144
    assert isinstance(results[1], ValueError)
    assert results[2] == 196


def test_an_error_of_the_users_iterator_is_the_users(platform, handle):
    platform(square)

    def broken():
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(handle.map(broken()))


def test_a_lost_connection_costs_no_result_and_doubles_none(platform, handle):
    served = platform(square)
    served.drop_after = 40
    assert list(handle.map(range(100, 400))) == [x * x for x in range(100, 400)]


def test_the_async_form_takes_async_iterables(platform, handle):
    platform(square)

    async def numbers():
        for x in range(5):
            yield x

    async def main():
        return [x async for x in handle.map.aio(numbers())], [x async for x in handle.map.aio([5, 6])]

    assert asyncio.run(main()) == ([0, 1, 4, 9, 16], [25, 36])


def test_the_blocking_form_is_an_error_inside_a_coroutine(handle):
    async def main():
        with pytest.raises(exception.InvalidError, match=r"map\.aio"):
            handle.map([1])
        with pytest.raises(exception.InvalidError, match=r"starmap\.aio"):
            handle.starmap([(1,)])
        with pytest.raises(exception.InvalidError, match=r"for_each\.aio"):
            handle.for_each([1])

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that it was never iterated is no news then
        asyncio.run(main())


def test_a_notebook_may_map_although_its_loop_runs(platform, handle, monkeypatch):
    platform(square)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)

    async def cell():
        handle.for_each([1])
        return list(handle.map([1, 2, 3]))

    assert asyncio.run(cell()) == [1, 4, 9]


def test_a_map_that_is_never_iterated_says_so(handle):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        handle.map([1])
    assert any("never iterated" in str(one.message) for one in seen)


def test_spawn_map_returns_when_all_inputs_are_with_the_server(platform, handle):
    served = platform(square)
    call = handle.experimental_spawn_map(range(250))
    assert len(served.calls[call.object_id]) == 250
    assert call.num_inputs() == 250
    assert handle.spawn_map([]) is None


def test_a_map_that_is_refused_because_too_much_waits_goes_on_by_itself(platform, handle):
    served = platform(square)
    accept, refused = served.on_call_put, []

    def crowded(incoming, body):
        if len(refused) < 3:
            refused.append(body)
            incoming.fail(exception.ResourceExhaustedError("2,000 inputs wait for function 'f'; at most 2,000 may"))
        else:
            accept(incoming, body)

    served.on_call_put = served.on_call_create = crowded
    assert list(handle.map(range(100, 400))) == [x * x for x in range(100, 400)]
    assert len(refused) == 3
