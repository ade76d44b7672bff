"""Restarting the server loses no state and kills no container."""

from __future__ import annotations

import pytest

import windlass
from programs import survivors
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with survivors.app.run():
        yield


def test_containers_live_on_and_keep_what_they_run(stage):
    container = survivors.nap.remote(0)
    call = survivors.nap.spawn(3)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.5)
    stage.kill("server")
    assert call.get(timeout=30) == container
    assert survivors.nap.remote(0) == container


def test_apps_results_and_logs_are_still_known(stage):
    call = survivors.double.spawn(4)
    call.get()
    survivors.talk.remote(5)
    app_id = survivors.app.app_id

    def all_lines() -> list[str]:  # a result does not wait for the lines before it
        lines = stage.cli("app", "logs", app_id, check=0).lines
        return lines if lines[-1:] == ["talk 0004"] else []

    before = until(all_lines, what="all lines")
    stage.kill("server")
    assert windlass.FunctionCall.from_id(call.object_id).get(timeout=10) == 8
    assert stage.app_id("test-survivors") == app_id
    after = stage.cli("app", "logs", app_id, check=0).lines
    assert after == before and after[-1] == "talk 0004"


def test_output_written_meanwhile_is_not_lost_nor_doubled(stage):
    call = survivors.talk.spawn(150)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.5)
    stage.kill("server")
    call.get(timeout=30)

    def logs() -> list[str]:
        query = ["--function-call", call.object_id, "--tail", "1000"]
        return stage.cli("app", "logs", survivors.app.app_id, *query, check=0).lines

    until(lambda: len(logs()) >= 150, what="all lines")
    assert logs() == [f"talk {i:04}" for i in range(150)]


def test_the_platform_stops_and_starts_without_losing_what_was_accepted(stage):
    done = survivors.double.spawn(50)
    assert done.get() == 100
    waiting = survivors.nap.spawn(1)
    stage.stop()
    stage.start()
    assert windlass.FunctionCall.from_id(done.object_id).get(timeout=10) == 100
    assert waiting.get(timeout=60).startswith("ta-")
