"""A connection of its own for who calls again and again."""
from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from windlass import exception
from windlass.client import address, bridge, lane, output, session


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """No pause of the machine makes a call give up the lane."""
    monkeypatch.setattr(lane, "PATIENCE", 15.0)


def in_a_row(handle, count: int = 6) -> lane.Lane:
    """Call until there is a lane."""
    deadline = time.monotonic() + 10
    while session._current is None or session._current.lane._connection is None:
        for x in range(count):
            handle.remote(x)
        assert time.monotonic() < deadline, "there is no lane"
    return session._current.lane


def test_who_calls_again_and_again_gets_a_connection_of_his_own(platform, handle):
    served = platform(lambda x: x * 2)
    assert handle.remote(1) == 2
    assert len(served.connections) == 1
    in_a_row(handle)
    assert len(served.connections) == 2
    by, serve = [], served.on_call_run
    served.on_call_run = lambda incoming, body: (by.append(incoming.peer), serve(incoming, body))
    assert [handle.remote(x) for x in range(3)] == [0, 2, 4]
    assert by == [served.connections[1]] * 3
    hellos = [body["client_id"] for method, body in served.seen if method == "hello"]
    assert len(hellos) == 2 and len(set(hellos)) == 1, "to the platform it is the same client"


def test_another_thread_and_another_loop_do_not_wait_for_it(platform, handle):
    served = platform(lambda x: x)
    held = in_a_row(handle)
    assert held.take()
    try:
        assert handle.remote(5) == 5
        assert asyncio.run(handle.remote.aio(6)) == 6
    finally:
        held.leave()
    assert len(served.connections) == 2


def test_a_lost_lane_costs_no_call(platform, handle):
    served = platform(lambda x: x)
    in_a_row(handle)
    runs = []
    serve = served.on_call_run

    def lost(incoming, body):
        runs.append(body["call_id"])
        served.on_call_run = serve
        served._put(incoming, body)
        incoming.peer._transport.abort()

    served.on_call_run = lost
    assert handle.remote(7) == 7
    asked = [method for method, body in served.seen if body.get("call_id") == runs[0]]
    assert asked == ["call.run", "call.create", "call.outputs"], "the same call, asked for again"
    in_a_row(handle)
    assert handle.remote(8) == 8


def test_what_takes_long_is_waited_for_by_the_session(platform, handle, monkeypatch):
    monkeypatch.setattr(lane, "PATIENCE", 0.05)
    served = platform(lambda x: x)
    held = in_a_row(handle)
    serve, answering = served.on_call_outputs, threading.Event()
    served.on_call_run = lambda incoming, body: served._put(incoming, body)
    served.on_call_outputs = lambda incoming, body: (answering.set(), serve(incoming, body))
    assert handle.remote(9) == 9
    assert answering.is_set()
    assert held._connection is None, "it is not used any more: the answer might come late"


def test_what_is_answered_instead_of_a_result_is_raised(platform, handle):
    served = platform(lambda x: x)
    in_a_row(handle)
    served.on_call_run = lambda incoming, body: incoming.fail(exception.NotFoundError("the app was stopped"))
    with pytest.raises(exception.NotFoundError, match="stopped"):
        handle.remote(1)


def test_an_interrupt_cancels_the_call_and_gives_up_the_lane(platform, handle):
    served = platform(lambda x: x)
    held = in_a_row(handle)
    cancelled, calls = threading.Event(), []

    def silent(incoming, body):
        calls.append(body["call_id"])
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    served.on_call_run = silent
    served.on_call_cancel = lambda incoming, body: (calls.append(body["call_id"]), incoming.reply({}), cancelled.set())
    with pytest.raises(KeyboardInterrupt):
        handle.remote(1)
    assert cancelled.wait(10)
    assert calls[0] == calls[1]
    assert held._connection is None


def test_while_logs_are_shown_results_come_behind_them(platform, handle):
    served = platform(lambda x: x)
    show = output.Output()
    show.enabled = True
    with output.using(show):
        assert [handle.remote(x) for x in range(8)] == list(range(8))
    assert len(served.connections) == 1




def test_it_ends_with_its_session(platform, handle):
    served = platform(lambda x: x)
    held = in_a_row(handle)
    home = session._current
    asyncio.run_coroutine_threadsafe(home.close(), bridge.library().loop).result()
    assert held._connection is None
    assert handle.remote(1) == 1, "by another session"
    assert len(served.connections) == 3


def test_in_a_container_there_is_none(platform, handle, monkeypatch):
    served = platform(lambda x: x)
    monkeypatch.setattr(session.address, "of_process", lambda: where)
    where = address.Address(str(served.socket), {**address.greeting(), "role": "container"}, autostart=False)
    assert [handle.remote(x) for x in range(8)] == list(range(8))
    assert len(served.connections) == 1
