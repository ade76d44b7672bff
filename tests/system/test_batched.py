"""Batches in real containers."""

from __future__ import annotations

import asyncio
import time

import pytest

import windlass
from programs import crowds
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with crowds.app.run():
        yield


def at_once(function, *arguments) -> list[windlass.FunctionCall]:
    """Different calls, which arrive within the wait of one batch also where each takes a while."""

    async def spawn() -> list[windlass.FunctionCall]:
        return await asyncio.gather(*[function.spawn.aio(*one) for one in arguments])

    return asyncio.run(spawn())


def test_callers_pass_single_items_and_the_function_gets_lists():
    assert crowds.add.remote(2, 3) == (5, 1)
    assert sorted(crowds.add.starmap([(n, 1) for n in range(5)])) == [(n + 1, 5) for n in range(5)]


def test_a_batch_is_full_or_has_waited():
    crowds.add.remote(0, 0)
    began = time.monotonic()
    calls = at_once(crowds.add, *[(n, 0) for n in range(7)])
    results = [call.get(timeout=20) for call in calls]
    assert [value for value, _ in results] == list(range(7))
    assert sorted(size for _, size in results) == [2, 2, 5, 5, 5, 5, 5]
    assert 1.0 <= time.monotonic() - began < 10


def test_maps_over_batched_functions_work():
    assert [value for value, _ in crowds.add.map(range(203), range(203))] == [2 * n for n in range(203)]


@pytest.mark.parametrize(
    ("how", "error"),
    [("short", windlass.exception.InvalidError), ("none", windlass.exception.InvalidError), ("x", LookupError)],
)
def test_one_failure_is_that_of_all_in_the_batch(how, error):
    failures = list(crowds.wrong.map([how] * 3, return_exceptions=True))
    assert [type(failure) for failure in failures] == [error] * 3


def test_each_input_of_a_failed_batch_is_tried_again():
    assert set(crowds.fragile.map(["once", "x", "y"])) <= {2, 3, 4}


def test_arguments_that_do_not_fit_fail_the_batch():
    with pytest.raises(windlass.exception.InvalidError, match="parameters"):
        crowds.add.remote(1)
    assert crowds.add.remote(x=1, y=2) == (3, 1)


def test_several_batches_run_at_once_in_one_container():
    crowds.both.remote(0)
    began = time.monotonic()
    assert list(crowds.both.map([2.0] * 20)) == [5] * 20
    assert time.monotonic() - began < 7.5, "one after the other they take eight"


def test_the_only_method_of_a_class_may_be_batched():
    batched = crowds.Batched()
    batched.plus.remote(0)
    assert list(batched.plus.map(range(4))) == [(1000 + n, 4) for n in range(4)]


def test_cancelling_one_input_ends_its_batch_and_the_others_run_again():
    crowds.batch_nap.remote(0)
    began = time.monotonic()
    victim, *others = at_once(crowds.batch_nap, (60,), *[(0.1,)] * 3)
    until(lambda: crowds.batch_nap.get_current_stats().num_running_inputs == 4, what="they run")
    time.sleep(0.3)
    victim.cancel()
    assert all(call.get(timeout=30).startswith("ta-") for call in others)
    assert time.monotonic() - began < 40


def test_batching_may_be_asked_for_by_the_caller():
    larger = crowds.add.with_batching(max_batch_size=8, wait_ms=1000)
    larger.remote(0, 0)
    assert {size for _, size in larger.map(range(8), range(8))} == {8}
