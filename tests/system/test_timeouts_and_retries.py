"""Attempts: how long one may take, how often it is made, what the caller sees of it."""

from __future__ import annotations

import builtins
import uuid

import pytest

import windlass
from programs import attempts


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with attempts.app.run():
        yield


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_an_attempt_that_takes_too_long_is_stopped_and_its_container_goes_on(how):
    before = attempts.overlong.remote("quick")
    with pytest.raises(windlass.exception.FunctionTimeoutError) as caught:
        attempts.overlong.remote(how)
    assert isinstance(caught.value, builtins.TimeoutError)
    assert attempts.overlong.remote("quick") == before


def test_an_async_attempt_is_stopped_too():
    with pytest.raises(windlass.exception.FunctionTimeoutError):
        attempts.overlong_async.remote()


def test_code_that_refuses_to_stop_loses_its_container():
    with pytest.raises(windlass.exception.FunctionTimeoutError):
        attempts.overlong.remote("stubborn")
    assert attempts.overlong.remote("quick").startswith("ta-")


def test_a_failed_attempt_is_made_again_after_a_growing_delay():
    times = attempts.third_time.remote(uuid.uuid4().hex)
    assert len(times) == 3
    assert 1.0 <= times[1] - times[0] < 6
    assert 2.0 <= times[2] - times[1] < 7


def test_retries_work_in_maps_and_for_spawned_calls():
    call = attempts.third_time.spawn(uuid.uuid4().hex)
    assert [len(times) for times in attempts.third_time.map([uuid.uuid4().hex, uuid.uuid4().hex])] == [3, 3]
    assert len(call.get()) == 3


def test_the_last_failure_is_what_the_caller_sees():
    with pytest.raises(ValueError, match="attempt 3"):
        attempts.never.remote("key")


def test_a_timeout_counts_as_a_failure():
    assert attempts.slow_once.remote(uuid.uuid4().hex) == 2


def test_nothing_but_numbers_within_bounds_makes_a_policy():
    for wrong in [
        {"max_retries": -1},
        {"max_retries": 1, "backoff_coefficient": 0.5},
        {"max_retries": 1, "max_delay": 0},
    ]:
        with pytest.raises(windlass.exception.InvalidError):
            windlass.Retries(**wrong)
    for seconds in (0, 100_000):
        with pytest.raises(windlass.exception.InvalidError):
            windlass.App("x").function(timeout=seconds, serialized=True)(lambda: None)


def test_waiting_with_a_limit_never_touches_the_execution():
    call = attempts.pair.spawn(1.0)
    with pytest.raises(builtins.TimeoutError):
        call.get(timeout=0)
    with pytest.raises(windlass.exception.TimeoutError):
        call.get(timeout=0.1)
    assert call.get(timeout=20).startswith("ta-")
    assert call.get(timeout=0).startswith("ta-")
