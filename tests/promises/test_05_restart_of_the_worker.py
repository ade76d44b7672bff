"""Restarting a worker finds its containers again or reports them gone; nothing stays behind of those that are gone."""

from __future__ import annotations

import os
import signal

import pytest

from programs import survivors
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with survivors.app.run():
        yield


def test_a_running_container_is_found_again_and_its_call_undisturbed(stage):
    container = survivors.nap.remote(0)
    call = survivors.nap.spawn(3)
    stage.kill("worker")
    assert call.get(timeout=30) == container
    assert survivors.nap.remote(0) == container


def test_logs_go_on_where_they_were(stage):
    call = survivors.talk.spawn(150)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.5)
    stage.kill("worker")
    call.get(timeout=30)
    expected = [f"talk {i:04}" for i in range(150)]

    def logs() -> list[str]:
        query = ["--function-call", call.object_id, "--tail", "1000"]
        return stage.cli("app", "logs", survivors.app.app_id, *query, check=0).lines

    until(lambda: len(logs()) >= 150, what="all lines")
    assert logs() == expected


def test_a_container_that_died_while_nobody_looked_is_replaced(stage):
    container = survivors.nap.remote(0)
    payload = stage.payload(container)
    worker = stage.pid("worker")
    os.kill(worker, signal.SIGKILL)
    os.kill(payload, signal.SIGKILL)
    until(lambda: container not in stage.payloads().values(), 10, "it is dead")
    after = survivors.nap.remote(0)
    assert after != container
    until(lambda: not (stage.home / "containers" / container).exists(), 20, "its folder is gone")
    until(lambda: container not in str(list(os.walk("/sys/fs/cgroup"))), 20, "its control groups are gone")


def test_a_container_of_an_app_that_stopped_meanwhile_is_ended(stage):
    container = survivors.nap.remote(0)
    os.kill(stage.pid("worker"), signal.SIGKILL)
    stage.cli("container", "stop", container, "-y", check=0)
    until(lambda: not (stage.home / "containers" / container).exists(), 30, "its folder is gone")
    until(lambda: container not in [row["container_id"] for row in stage.containers()], what="the server knows it")
