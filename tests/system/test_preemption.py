"""Interrupted containers cost no retry and no crash; a container that wants no more inputs gets none."""

from __future__ import annotations

import pytest

import windlass
from programs import preempted
from windlass import experimental


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with preempted.app.run():
        yield


def test_a_preempted_input_begins_anew_elsewhere_more_often_than_it_may_crash_or_be_retried():
    container, input_id = preempted.interrupted.remote("more-often")
    assert container.startswith("ta-") and input_id.startswith("in-")


def test_each_container_that_stops_fetching_runs_one_input():
    results = list(preempted.once.map(range(4)))
    assert [x for x, _ in results] == list(range(4))
    assert len({container for _, container in results}) == 4


def test_outside_of_a_container_there_is_nothing_to_stop_fetching():
    with pytest.raises(windlass.exception.InvalidError, match="container"):
        experimental.stop_fetching_inputs()
