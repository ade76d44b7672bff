"""Several inputs at once in one real container."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import signal
import time

import pytest

import windlass
from programs import crowds
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with crowds.app.run():
        yield


BOTH = [pytest.param(crowds.nap, id="async"), pytest.param(crowds.thread_nap, id="sync")]


def at_once(function, count: int, *args):
    """``count`` calls of one item each, side by side."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: function.remote(*args), range(count)))


def busy(function, count: int) -> None:
    until(lambda: function.get_current_stats().num_running_inputs == count, what=f"{count} run")


def test_a_hundred_async_sleeps_in_one_container_take_about_one_sleep():
    crowds.nap.remote(0)
    began = time.monotonic()
    containers = set(crowds.nap.map([2.0] * 100))
    assert len(containers) == 1 and time.monotonic() - began < 10


def test_calls_of_many_callers_share_a_container():
    crowds.thread_nap.remote(0)
    began = time.monotonic()
    assert len(set(at_once(crowds.thread_nap, 20, 2.0))) == 1
    assert time.monotonic() - began < 12


@pytest.mark.parametrize("function", [crowds.who, crowds.thread_who], ids=["async", "sync"])
def test_contexts_do_not_mix(function):
    calls = [function.spawn(n) for n in range(50)]
    for n, call in enumerate(calls):
        input_id, call_id, number, again, call_again = call.get(timeout=30)
        assert number == n and input_id == again and call_id == call_again == call.object_id
    assert len({call.get()[0] for call in calls}) == 50


@pytest.mark.parametrize("function", BOTH)
def test_one_that_is_cancelled_leaves_the_others_alone(function):
    container = function.remote(0)
    others = [function.spawn(3.0) for _ in range(5)]
    victim = function.spawn(1000)
    busy(function, 6)
    time.sleep(0.2)
    victim.cancel()
    with pytest.raises((windlass.Error, windlass.exception.InputCancellation)):
        victim.get(timeout=10)
    assert {call.get(timeout=20) for call in others} == {container}
    assert function.remote(0) == container


@pytest.mark.parametrize("function", [crowds.timed, crowds.thread_timed], ids=["async", "sync"])
def test_one_that_takes_too_long_leaves_the_others_alone(function):
    container = function.remote(0)
    victim = function.spawn(1000)
    time.sleep(2.5)
    others = [function.spawn(2.0) for _ in range(5)]
    with pytest.raises(windlass.exception.FunctionTimeoutError):
        victim.get(timeout=20)
    assert {call.get(timeout=20) for call in others} == {container}
    assert function.remote(0) == container


def test_a_thread_that_does_not_stop_takes_its_container_and_the_others_run_again():
    before = crowds.stubborn.remote(0)
    victim = crowds.stubborn.spawn(1000)
    others = [crowds.stubborn.spawn(9) for _ in range(3)]
    busy(crowds.stubborn, 4)
    victim.cancel()
    containers = {call.get(timeout=60) for call in others}
    assert len(containers) == 1 and before not in containers


@pytest.mark.parametrize("function", [crowds.count, crowds.thread_count], ids=["async", "sync"])
def test_generators_run_side_by_side(function):
    list(function.remote_gen(1))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        streams = list(pool.map(lambda _: [(*got, time.monotonic()) for got in function.remote_gen(100)], range(8)))
    for stream in streams:
        assert [i for i, _, _ in stream] == list(range(100))
    assert len({container for stream in streams for _, container, _ in stream}) == 1
    assert max(stream[0][2] for stream in streams) < min(stream[-1][2] for stream in streams), "all begin, then all end"


def test_more_than_the_target_starts_more_containers():
    calls = crowds.spread.experimental_spawn_map([4.0] * 15)
    until(lambda: crowds.spread.get_current_stats().num_total_runners == 3, what="three for 15 with a target of 5")
    # The first that was ready has taken up to its maximum: nothing else was there.
    found = collections.Counter(calls.get(timeout=30, index=n) for n in range(15))
    assert len(found) >= 2 and max(found.values()) <= 10


def test_after_kill_9_each_input_has_exactly_one_result(stage):
    (container,) = set(crowds.nap.map([0] * 3))
    call = crowds.nap.experimental_spawn_map([3.0] * 60)
    busy(crowds.nap, 60)
    os.kill(stage.payload(container), signal.SIGKILL)
    results = [call.get(timeout=60, index=n) for n in range(60)]
    assert len(results) == 60 and container not in results


def test_who_leaves_by_sys_exit_takes_nobody_with_it():
    crowds.leaver.remote(0)
    others = [crowds.leaver.spawn(0) for _ in range(5)]
    with pytest.raises(windlass.Error, match="code 7"):
        crowds.leaver.remote(7)
    assert all(call.get(timeout=30).startswith("ta-") for call in others)


def test_methods_of_both_kinds_share_one_instance():
    shared = crowds.Shared()
    shared.now.remote(0)
    began = time.monotonic()
    calls = [shared.later.spawn(1.5) for _ in range(5)] + [shared.now.spawn(1.5) for _ in range(5)]
    assert len({call.get(timeout=30) for call in calls}) == 1
    assert time.monotonic() - began < 10, "one after the other they take fifteen"


def test_statistics_know_how_much_room_there_is():
    crowds.nap.remote(0)
    calls = [crowds.nap.spawn(5.0) for _ in range(30)]
    busy(crowds.nap, 30)
    stats = crowds.nap.get_current_stats()
    assert (stats.num_total_runners, stats.input_headroom, stats.backlog) == (1, 70, 0)
    for call in calls:
        call.get(timeout=20)


def test_concurrency_may_be_asked_for_by_the_caller():
    plain = crowds.stubborn.with_concurrency(max_inputs=2)
    plain.remote(0)
    began = time.monotonic()
    calls = [plain.spawn(2.0) for _ in range(4)]
    assert len({call.get(timeout=30) for call in calls}) == 1
    assert 4.0 <= time.monotonic() - began < 9


def test_code_says_how_many_inputs_it_takes_at_once():
    assert crowds.narrowed.remote(0, 0.0)[0] == 20
    assert crowds.narrowed.remote(3, 0.0)[0] == 3
    results = list(crowds.narrowed.map([0] * 9, kwargs={"seconds": 0.5}))
    assert {slots for slots, _ in results} == {3} and max(most for _, most in results) == 3
    assert crowds.narrowed.remote(99, 0.0)[0] == 20
    results = list(crowds.narrowed.map([0] * 20, kwargs={"seconds": 1.0}))
    assert max(most for _, most in results) > 10
