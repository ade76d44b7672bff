"""``map`` and its relatives: order, laziness, failures, cancellation of the rest."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

import windlass
from programs import maps
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with maps.app.run():
        yield


def idle(function) -> bool:
    stats = function.get_current_stats()
    return stats.backlog == 0 and stats.num_running_inputs == 0


def test_results_come_in_the_order_of_the_inputs():
    assert list(maps.square.map(range(500))) == [x * x for x in range(500)]
    assert list(maps.late_first.map(range(4))) == [0, 1, 2, 3]


def test_without_order_results_come_as_they_are_ready():
    with windlass.Queue.ephemeral() as gate:
        results = iter(maps.zero_waits.map(range(4), kwargs={"gate": gate}, order_outputs=False))
        assert sorted(itertools.islice(results, 3)) == [1, 2, 3]
        gate.put(None)
        assert list(results) == [0]


def test_several_iterables_are_zipped_and_the_shortest_ends_it():
    assert list(maps.weighted.map([1, 2, 3], itertools.count(10))) == [11, 13, 15]


def test_kwargs_go_to_every_call():
    assert list(maps.weighted.map([1, 2], kwargs={"factor": 10})) == [10, 20]
    assert list(maps.weighted.starmap([(1, 2), (3, 4)], kwargs={"factor": 2})) == [6, 14]


def test_an_empty_map_ends_at_once_without_a_container():
    began = time.monotonic()
    assert list(maps.never_called.map([])) == []
    assert list(maps.never_called.starmap(iter(()))) == []
    maps.never_called.for_each([])
    assert time.monotonic() - began < 10
    assert maps.never_called.get_current_stats().num_total_runners == 0


def test_the_first_failure_is_raised_where_it_is_reached():
    got = []
    with pytest.raises(ValueError, match="not 2"):
        for value in maps.picky.map(range(10)):
            got.append(value)
    assert got == [0, 1]


def test_after_a_failure_the_rest_is_cancelled():
    began = time.monotonic()
    with pytest.raises(ValueError, match="the first is bad"):
        list(maps.slow_unless_bad.map(range(50)))
    until(lambda: idle(maps.slow_unless_bad), 20, "the rest is cancelled")
    assert time.monotonic() - began < 40


def test_return_exceptions_puts_failures_in_their_places():
    got = list(maps.picky.map(range(6), return_exceptions=True))
    assert got[:2] == [0, 1] and got[3:5] == [3, 4]
    assert isinstance(got[2], ValueError) and str(got[2]) == "not 2"
    assert isinstance(got[5], ValueError)


def test_inputs_are_read_lazily_and_an_endless_iterator_is_held_back():
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield read

    results = maps.square.map(endless())
    assert list(itertools.islice(results, 200)) == [x * x for x in range(1, 201)]
    pulled = read
    assert pulled < 6000, "far more was read than may be outstanding"
    time.sleep(0.5)
    assert read < 6000, "it goes on reading without being consumed"
    results.close()
    until(lambda: idle(maps.square), 20, "an abandoned map is cancelled")
    stopped = read
    time.sleep(0.3)
    assert read == stopped


def test_an_exception_of_the_users_iterator_reaches_the_caller():
    def failing():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(maps.square.map(failing()))


def test_iterators_are_consumed_in_the_callers_thread():
    import threading

    seen = set()

    def inputs():
        for x in range(5):
            seen.add(threading.current_thread())
            yield x

    list(maps.square.map(inputs()))
    assert seen == {threading.current_thread()}


def test_for_each_waits_for_all_and_raises_unless_told_to_ignore():
    assert maps.weighted.for_each(range(5)) is None
    with pytest.raises(ValueError, match="not 2"):
        maps.picky.for_each(range(4))
    maps.picky.for_each(range(4), ignore_exceptions=True)


def test_spawn_map_returns_at_once_and_all_inputs_run():
    maps.square.spawn_map(range(30))
    until(lambda: idle(maps.square), 20, "all spawned inputs have run")


def test_a_map_works_inside_a_container():
    assert maps.inside.remote(40) == [x * x for x in range(40)]


def test_generators_cannot_be_mapped():
    with pytest.raises(windlass.exception.InvalidError):
        list(maps.generator.map([1]))


def test_the_blocking_map_inside_a_coroutine_is_an_error_that_names_the_other():
    async def wrong():
        return list(maps.square.map([1]))

    with pytest.raises(windlass.exception.InvalidError, match="aio"):
        asyncio.run(wrong())


def test_an_async_map_reads_async_iterators():
    async def inputs():
        for x in range(5):
            await asyncio.sleep(0)
            yield x

    async def everything():
        assert [x async for x in maps.square.map.aio(inputs())] == [0, 1, 4, 9, 16]
        await maps.weighted.for_each.aio(range(3))
        await maps.weighted.spawn_map.aio(range(3))

    asyncio.run(everything())


ABANDONED = """
import modal

app = modal.App("test-abandoned-map")

@app.function()
def same(x):
    return x

@app.local_entrypoint()
def main():
    global results
    results = iter(same.map(range(10_000)))
    print("first", next(results))
"""


def test_a_map_that_nobody_finishes_says_nothing_when_python_ends(stage, program):
    ran = stage.cli("run", "-q", program("abandoned.py", ABANDONED), check=0)
    assert ran.out == "first 0\n" and ran.err == ""
