"""Cancellation really stops user code, and leaves innocents alone."""

from __future__ import annotations

import itertools
import time

import pytest

import windlass
from programs import attempts
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with attempts.app.run():
        yield
    windlass.Dict.objects.delete("test-attempts", allow_missing=True)


def begun(call) -> None:
    """Wait until its code says that it is where it notes what it sees."""
    until(lambda: attempts.marks.get(call.object_id), what="running")
    time.sleep(0.2)


def runs(function) -> bool:
    return function.get_current_stats().num_running_inputs >= 1


def cancelled(call) -> BaseException:
    call.cancel()
    with pytest.raises((windlass.Error, windlass.exception.InputCancellation)) as caught:
        call.get(timeout=20)
    assert not isinstance(caught.value, TimeoutError)
    return caught.value


@pytest.mark.parametrize("how", ["sleep", "spin", "swallow", "lock"])
def test_sync_code_is_interrupted_wherever_it_is(how):
    container, _ = attempts.work.remote("look")
    call = attempts.work.spawn(how)
    begun(call)
    cancelled(call)
    assert attempts.work.remote("look") == (container, ["InputCancellation"])


def test_an_async_function_is_cancelled_as_a_task():
    container, _ = attempts.async_work.remote("look")
    call = attempts.async_work.spawn("sleep")
    begun(call)
    cancelled(call)
    after, seen = attempts.async_work.remote("look")
    assert after == container and seen in (["CancelledError"], ["InputCancellation"])


@pytest.mark.parametrize("function", [attempts.stream, attempts.async_stream], ids=["sync", "async"])
def test_a_generator_nobody_listens_to_any_more_is_stopped(function):
    values = function.remote_gen(10_000)
    assert list(itertools.islice(values, 3)) == [0, 1, 2]
    values.close()
    until(lambda: not runs(function), 20, "the generator has stopped")
    (seen,) = list(function.remote_gen(-1))
    assert len(seen) == 1 and seen[0] in ("InputCancellation", "GeneratorExit", "CancelledError")


def test_an_input_that_waits_never_begins():
    first = attempts.work.spawn("sleep")
    begun(first)
    waiting = attempts.work.spawn("swallow")
    cancelled(waiting)
    cancelled(first)
    _, seen = attempts.work.remote("look")
    assert seen == ["InputCancellation"]


def test_another_input_of_the_same_function_is_left_alone():
    guilty = attempts.pair.spawn(1000)
    until(lambda: runs(attempts.pair), what="one runs")
    innocent = attempts.pair.spawn(3.0)  # which begins when its own container is there
    until(lambda: attempts.pair.get_current_stats().num_running_inputs == 2, what="both run")
    cancelled(guilty)
    assert innocent.get(timeout=20).startswith("ta-")


def test_with_terminate_containers_the_container_dies_as_well(stage):
    before, _ = attempts.work.remote("look")
    call = attempts.work.spawn("sleep")
    until(lambda: runs(attempts.work), what="running")
    call.cancel(terminate_containers=True)
    with pytest.raises((windlass.Error, windlass.exception.InputCancellation)):
        call.get(timeout=20)
    until(lambda: before not in [c["container_id"] for c in stage.containers()], what="the container is gone")
    after, _ = attempts.work.remote("look")
    assert after != before


def test_cancelling_what_has_ended_changes_nothing():
    call = attempts.pair.spawn(0)
    container = call.get()
    call.cancel()
    assert call.get() == container
