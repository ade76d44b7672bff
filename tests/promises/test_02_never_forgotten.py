"""An accepted input ends: finished, failed or cancelled. Never forgotten, whatever was killed since."""

from __future__ import annotations

import os
import signal

import pytest

import windlass
from programs import survivors
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with survivors.app.run():
        yield


def test_spawned_calls_end_after_everything_was_killed(stage):
    calls = [survivors.fail_or_not.spawn(x) for x in range(60)]
    for program in ("server", "worker"):
        os.kill(until(lambda program=program: stage.pid(program)), signal.SIGKILL)
    for x, call in enumerate(calls):
        if x % 5 == 0:
            with pytest.raises(ValueError, match=str(x)):
                call.get(timeout=60)
        else:
            assert call.get(timeout=60) == x


def test_a_cancellation_is_not_forgotten_either(stage):
    running = survivors.nap.spawn(600)
    waiting = survivors.nap.spawn(600)
    until(lambda: survivors.nap.get_current_stats().num_running_inputs, what="running")
    waiting.cancel()
    running.cancel()
    stage.kill("server")
    for call in (running, waiting):
        with pytest.raises((windlass.Error, windlass.exception.InputCancellation)) as caught:
            call.get(timeout=60)
        assert not isinstance(caught.value, TimeoutError)
    assert survivors.nap.remote(0)


def test_a_generator_goes_on_behind_a_killed_server(stage):
    got = []
    for value in survivors.count.remote_gen(300):
        got.append(value)
        if value == 50:
            os.kill(until(lambda: stage.pid("server")), signal.SIGKILL)
    assert got == list(range(300))


def test_inputs_wait_for_a_platform_that_comes_back(stage):
    """The server is away while the caller calls: the call waits and is made once."""
    os.kill(until(lambda: stage.pid("server")), signal.SIGKILL)
    assert survivors.double.remote(21) == 42
