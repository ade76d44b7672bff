"""The death of a container says why, and limits are kept."""

from __future__ import annotations

import re

import pytest

import windlass
from programs import deaths


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with deaths.app.run():
        yield


def test_too_much_memory_is_told_with_peak_and_limit():
    assert deaths.devour.remote(20) == 20
    with pytest.raises(windlass.exception.RemoteError) as caught:
        deaths.devour.remote(1000)
    text = str(caught.value).lower()
    assert "memory" in text
    peak, limit = re.search(r"([\d,.]+)\s*mib.*?([\d,.]+)\s*mib", text).groups()
    assert float(limit) == 160 and 120 <= float(peak) <= 161
    assert deaths.devour.remote(20) == 20


@pytest.mark.parametrize(
    ("how", "said"),
    [("exit", r"code 7"), ("signal", r"SIGABRT|signal 6"), ("segfault", r"SIGSEGV|signal 11|segfault")],
)
def test_a_process_that_ends_by_itself_is_told_with_its_code_or_signal(how, said):
    with pytest.raises(windlass.exception.RemoteError, match=said):
        deaths.leave.remote(how)


def test_sys_exit_in_a_function_is_an_error_of_its_input():
    with pytest.raises((SystemExit, windlass.Error)):
        deaths.leave.remote("sys.exit")
    assert deaths.leave.remote("not") is None


def test_a_hard_limit_of_processor_time_is_enforced():
    assert deaths.burn.remote(1.5) < 1.5 * 0.5 + 0.35


def test_the_number_of_processes_is_limited():
    assert 10 < deaths.fork_bomb.remote() < 20_000


@pytest.mark.parametrize("wish", [{"cpu": 10_000}, {"memory": 1 << 30}])
def test_a_request_larger_than_the_machine_is_refused(stage, wish):
    greedy = windlass.App("test-greedy")
    greedy.function(serialized=True, **wish)(lambda: None)
    with pytest.raises(windlass.exception.InvalidError, match="larg"):
        with greedy.run():
            pass


def test_a_limit_below_the_request_is_refused():
    for wrong in [{"cpu": (2, 1)}, {"memory": (200, 100)}]:
        with pytest.raises(windlass.exception.InvalidError):
            windlass.App("x").function(serialized=True, **wrong)(lambda: None)
