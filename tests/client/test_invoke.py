from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
import warnings

import pytest

from windlass import dict as dict_module
from windlass import exception, function_call
from windlass.client import bridge, here, session


def test_remote_returns_what_the_function_returns(platform, handle):
    platform(lambda x, y=0: x + y)
    assert handle.remote(1, y=2) == 3


def test_remote_raises_what_the_function_raises_with_one_frame_of_ours(platform, handle):
    def fail(x):
        raise ZeroDivisionError("remote")

    platform(fail)
    with pytest.raises(ZeroDivisionError, match="remote") as caught:
        handle.remote(1)
    assert [entry.path.name for entry in caught.traceback][1:] == ["faces.py"]


def test_the_async_form_works_on_any_loop(platform, handle):
    platform(lambda x: x * 2)

    async def main():
        return await asyncio.gather(*(handle.remote.aio(x) for x in range(20)))

    assert asyncio.run(main()) == [x * 2 for x in range(20)]
    assert asyncio.run(main()) == [x * 2 for x in range(20)]


def test_arguments_that_cannot_be_pickled_are_refused_before_any_request(platform, handle):
    served = platform(lambda x: x)
    with pytest.raises(exception.SerializationError, match="lock"):
        handle.remote(threading.Lock())
    assert served.methods() == []


def test_an_unhydrated_handle_cannot_travel(platform, handle):
    from windlass import secret

    platform(lambda x: x)
    with pytest.raises(exception.InvalidError, match="no id yet"):
        handle.remote(secret.Secret.from_dict({"A": "b"}))


def test_hydrated_handles_travel(platform, handle):
    platform(lambda other: (other.object_id, other.tag))
    assert handle.remote(handle) == (handle.object_id, "f")


def test_the_parent_input_is_recorded(platform, handle):
    served = platform(lambda: None)

    def inside():
        here.input_id.set("in-parent")
        handle.remote()

    contextvars.copy_context().run(inside)
    assert dict(served.seen)["call.run"]["parent_input_id"] == "in-parent"


def test_get_waits_only_as_long_as_allowed(platform, handle):
    served = platform(lambda: 5)
    call = handle.spawn()
    assert call.get(timeout=5) == 5
    served.on_call_outputs = lambda incoming, body: None
    with pytest.raises(TimeoutError):
        call.get(timeout=0.05)


def test_a_call_is_found_again_by_its_id_only_if_it_is_one():
    assert function_call.FunctionCall.from_id("fc-0123456789012345678901").object_id.startswith("fc-")
    with pytest.raises(exception.InvalidError):
        function_call.FunctionCall.from_id("nonsense")


def test_gather_keeps_the_order(platform, handle):
    platform(lambda x: x)
    calls = [handle.spawn(x) for x in (3, 1, 2)]
    assert function_call.FunctionCall.gather(*calls) == [3, 1, 2]


def test_the_warning_about_an_operator_names_a_method_that_can_be_awaited():
    async def main():
        bridge.check_blocking(dict_module.Dict.__getitem__)

    with pytest.warns(exception.AsyncUsageWarning, match=r"write `await Dict\.get\.aio\("):
        asyncio.run(main())


@pytest.mark.parametrize("notebook", [False, True])
def test_a_blocking_call_inside_a_coroutine_warns_but_not_in_a_notebook(platform, handle, monkeypatch, notebook):
    platform(lambda x: x)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)

    async def main():
        handle.remote(1)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(main())
    assert [w.category for w in seen] == ([] if notebook else [exception.AsyncUsageWarning])


def test_a_platform_with_another_protocol_is_refused(platform, handle):
    platform(lambda x: x).protocol = 99
    with pytest.raises(exception.VersionError, match="99"):
        handle.remote(1)


def test_blocking_on_the_librarys_own_thread_is_refused():
    async def nothing() -> None: ...

    async def misuse() -> None:
        bridge.run(nothing())

    with pytest.raises(exception.ExecutionError, match="own thread"):
        bridge.run(misuse())


def test_an_interrupt_of_the_waiting_thread_cancels_the_coroutine():
    import signal

    cancelled = threading.Event()

    async def forever() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # not before it has begun
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            bridge.run(forever())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert cancelled.is_set()


def test_a_forked_child_has_a_session_of_its_own(platform, handle):
    import os

    platform(lambda x: x + 1)
    assert handle.remote(1) == 2
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if handle.remote(2) == 3 and session._left_behind else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert handle.remote(3) == 4


def test_a_call_whose_connection_is_lost_goes_on_with_the_next_one_and_is_made_once(platform, handle):
    served = platform(lambda x: x + 1)
    assert handle.remote(1) == 2
    answered = served.on_call_run

    def lost(incoming, body):
        served._put(incoming, body)
        served.drop()

    served.on_call_run = lost
    assert handle.remote(2) == 3
    served.on_call_run = answered
    assert handle.remote(3) == 4
    assert served.methods().count("call.run") == 3 and served.methods().count("call.create") == 1
    assert len(served.calls) == 3


def test_an_interrupted_wait_leaves_the_exchange_and_cancels_the_call(platform, handle):
    served = platform(lambda x: x)
    assert handle.remote(1) == 1
    came, left = threading.Event(), threading.Event()

    def silent(incoming, body):
        incoming.on_cancel = left.set
        came.set()

    served.on_call_run = silent

    async def main():
        waiting = asyncio.ensure_future(handle.remote.aio(2))
        await asyncio.to_thread(came.wait, 5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(left.wait, 5)

    asyncio.run(main())
    assert left.is_set()
    deadline = time.monotonic() + 5
    while "call.cancel" not in served.methods() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert served.methods().count("call.cancel") == 1
