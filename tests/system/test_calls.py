"""Calls of every form: what goes in and what comes back is as if the call had been local."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

import windlass
from programs import calls


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with calls.app.run():
        yield


def test_arguments_by_position_and_by_name_arrive():
    assert calls.add.remote(1) == 2
    assert calls.add.remote(1, 2) == 3
    assert calls.add.remote(b=5, a=1, scale=10) == 60


def test_a_wrong_argument_is_a_type_error_as_it_would_be_locally():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        calls.add.remote(1, nonsense=2)


def test_an_async_function_is_called_like_any_other():
    assert calls.async_add.remote(20, 22) == 42


def test_generators_stream_their_values_in_order():
    assert list(calls.count.remote_gen(2500)) == list(range(2500))
    assert list(calls.async_count.remote_gen(20)) == list(range(20))
    assert list(calls.plain_count.remote_gen(3)) == [0, 1, 2]
    assert list(calls.count.remote_gen(0)) == []


def test_an_exception_of_a_generator_comes_after_the_values_before_it():
    got = []
    with pytest.raises(KeyError, match="after the last"):
        for value in calls.broken_count.remote_gen(3):
            got.append(value)
    assert got == [0, 1, 2]


def test_the_method_that_does_not_fit_the_function_is_refused():
    with pytest.raises(windlass.exception.InvalidError, match="generator") as caught:
        calls.count.remote(1)
    assert "remote_gen" in caught.value.hint
    with pytest.raises(windlass.exception.InvalidError, match="generator"):
        calls.add.remote_gen(1)
    with pytest.raises(windlass.exception.InvalidError, match="generator"):
        calls.count.spawn(1)


def test_local_runs_in_this_process_and_the_handle_itself_is_not_callable():
    assert calls.add.local(1, 2) == 3
    assert calls.where.local()["pid"] == os.getpid()
    assert asyncio.run(calls.async_add.local(1, 2)) == 3
    with pytest.raises((TypeError, windlass.Error)):
        calls.add(1)


def test_functions_call_functions_from_inside():
    assert calls.fan_out.remote(20) == sum(range(20)) + 20
    assert calls.relay.remote(30) == list(range(30))


def test_handles_travel_as_results_and_as_arguments():
    call = calls.spawn_one.remote(32)
    assert isinstance(call, windlass.FunctionCall)
    assert call.get() == 42
    assert calls.collect.remote(calls.add.spawn(1)) == 2
    assert calls.call_it.remote(calls.echo, "through") == "through"


def test_fifty_megabytes_travel_both_ways():
    data = os.urandom(1 << 20) * 50
    assert calls.digest.remote(data) == hashlib.sha256(data).hexdigest()
    back = calls.zeros.remote(50 << 20)
    assert len(back) == 50 << 20 and not any(back[:: 1 << 16])
    assert calls.echo.remote({"array": data[: 3 << 20]})["array"] == data[: 3 << 20]


def test_values_keep_their_types():
    values = [None, True, 1 << 80, 1.5, "ü\udcff", b"\0", {1, 2}, (1, [2]), {"a": range(3)}, lambda: 7, ValueError("x")]
    for value in values[:-2]:
        assert calls.echo.remote(value) == value
    assert calls.echo.remote(values[-2])() == 7
    assert repr(calls.echo.remote(values[-1])) == repr(values[-1])


def test_code_in_a_container_knows_where_it_is():
    assert windlass.is_local() and windlass.current_input_id() is None and windlass.current_function_call_id() is None
    call = calls.where.spawn()
    there = call.get()
    assert there["local"] is False
    assert there["call"] == call.object_id and there["call"].startswith("fc-")
    assert there["input"].startswith("in-")
    assert there["task"].startswith("ta-") and there["remote"] == "1"
    assert (
        there["cwd"] == "/root" and there["file"] == "/root/programs/calls.py" and there["module"] == "programs.calls"
    )
    assert there["host"] != os.uname().nodename


def test_each_blocking_method_has_an_async_twin():
    async def everything():
        assert await calls.add.remote.aio(1) == 2
        assert [x async for x in calls.count.remote_gen.aio(3)] == [0, 1, 2]
        assert [x async for x in calls.add.map.aio(range(3))] == [1, 2, 3]
        assert [x async for x in calls.add.starmap.aio([(1, 2), (3, 4)])] == [3, 7]
        call = await calls.add.spawn.aio(5)
        assert await call.get.aio() == 6
        assert await windlass.FunctionCall.gather.aio(call, call) == [6, 6]
        assert (await calls.add.get_current_stats.aio()).num_total_runners >= 1
        both = await asyncio.gather(calls.echo.remote.aio("a"), calls.echo.remote.aio("b"))
        assert both == ["a", "b"]

    asyncio.run(everything())


def test_many_threads_may_call_at_once():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(calls.add.remote, range(100))) == list(range(1, 101))


def test_a_function_of_an_app_that_does_not_run_cannot_be_called():
    idle = windlass.App("test-idle")

    @idle.function(serialized=True)
    def never() -> None: ...

    with pytest.raises(windlass.exception.ExecutionError):
        never.remote()
