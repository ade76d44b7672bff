"""An input's result is recorded at most once, whatever dies: server, worker or containers, in the middle of a map."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import threading
import time

import pytest

from programs import survivors
from stage import until

COUNT = 1000


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with survivors.app.run():
        list(survivors.double.map(range(4)))
        yield


def disturbed(disturb) -> list[int]:
    """Map a thousand inputs, and disturb when a third of the results are there."""
    got: list[int] = []
    trouble: list[BaseException] = []

    def interfere() -> None:
        try:
            disturb()
        except BaseException as exc:
            trouble.append(exc)

    thread = threading.Thread(target=interfere)
    for value in survivors.double.map(range(COUNT), order_outputs=False):
        got.append(value)
        if len(got) == COUNT // 3:
            thread.start()
    thread.join()
    assert not trouble, trouble
    return got


def check(got: list[int]) -> None:
    """Every result is there, and none twice."""
    counts = collections.Counter(got)
    assert [value for value, n in counts.items() if n > 1] == []
    assert sorted(counts) == [2 * x for x in range(COUNT)]


def test_a_killed_server_in_the_middle_of_a_map(stage):
    check(disturbed(lambda: stage.kill("server")))


def test_a_server_killed_again_and_again(stage):
    def often() -> None:
        for _ in range(3):
            stage.kill("server")
            time.sleep(0.3)

    check(disturbed(often))


def test_a_killed_worker_in_the_middle_of_a_map(stage):
    check(disturbed(lambda: stage.kill("worker")))


def test_containers_killed_at_random(stage):
    def some() -> None:
        rng = random.Random(7)
        for _ in range(4):
            payloads = until(stage.payloads, what="containers")
            try:
                os.kill(rng.choice(sorted(payloads)), signal.SIGKILL)
            except ProcessLookupError:
                pass
            time.sleep(0.3)

    check(disturbed(some))


def test_server_and_worker_and_a_container_at_once(stage):
    def all_of_them() -> None:
        programs = [until(lambda name=name: stage.pid(name), what=name) for name in ("worker", "server")]
        for pid in [*programs, *list(stage.payloads())[:1]]:
            with contextlib.suppress(ProcessLookupError):  # a container may have ended by itself
                os.kill(pid, signal.SIGKILL)

    check(disturbed(all_of_them))
