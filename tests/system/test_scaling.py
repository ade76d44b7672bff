"""Containers come when there is work and go when there is none, within the bounds that were set."""

from __future__ import annotations

import time

import pytest

import windlass
from programs import pools
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with pools.app.run():
        yield


def total(function) -> int:
    return function.get_current_stats().num_total_runners


def test_work_spreads_to_the_maximum_and_no_further():
    with windlass.Dict.ephemeral() as here:
        containers = set(pools.together.starmap([(here, 3)] * 9))
    assert len(containers) == 3
    assert total(pools.together) == 3


def test_an_idle_pool_shrinks_to_zero_and_grows_again():
    first = pools.brief.remote()
    assert total(pools.brief) == 1
    until(lambda: total(pools.brief) == 0, 30, "scaled to zero")
    assert pools.brief.remote() != first


def test_the_minimum_stands_without_any_work():
    until(lambda: total(pools.kept) == 1, 20, "the minimum is there")
    container = pools.kept.remote()
    time.sleep(3.5)
    assert total(pools.kept) == 1 and pools.kept.remote() == container


def test_a_buffer_stands_beside_the_busy_ones_only_while_there_is_work():
    assert total(pools.buffered) == 0
    call = pools.buffered.spawn(4)
    until(lambda: total(pools.buffered) == 2, 20, "one busy, one in reserve")
    call.get()
    until(lambda: total(pools.buffered) == 0, 20, "scaled to zero")


def test_a_warm_container_is_used_again_with_its_state():
    container, calls = pools.warm.remote()
    assert [pools.warm.remote() for _ in range(3)] == [(container, calls + i) for i in (1, 2, 3)]


def test_a_container_for_single_use_takes_one_input_only():
    assert len({pools.once.remote(), pools.once.remote(), *pools.once.starmap([()] * 3)}) == 5


def test_current_stats_count_what_waits_and_what_runs():
    with windlass.Queue.ephemeral() as gate:
        calls = [pools.held.spawn(gate) for _ in range(5)]
        stats = until(lambda: (s := pools.held.get_current_stats()).num_running_inputs == 3 and s, 60, "three run")
        assert stats.backlog == 2 and stats.input_headroom == 0
        gate.put_many([None] * 5)
        windlass.FunctionCall.gather(*calls)


def test_the_autoscaler_can_be_set_while_it_runs():
    pools.adjustable.update_autoscaler(min_containers=2)
    until(lambda: total(pools.adjustable) == 2, 20, "two containers")
    pools.adjustable.update_autoscaler(min_containers=0)
    until(lambda: total(pools.adjustable) == 0, 20, "none")
    with pytest.raises(windlass.exception.InvalidError):
        pools.adjustable.update_autoscaler(min_containers=3, max_containers=1)


def test_bounds_that_contradict_each_other_are_refused():
    for wrong in [{"min_containers": 2, "max_containers": 1}, {"scaledown_window": 1}, {"scaledown_window": 10_000}]:
        with pytest.raises(windlass.exception.InvalidError):
            windlass.App("x").function(serialized=True, **wrong)(lambda: None)
