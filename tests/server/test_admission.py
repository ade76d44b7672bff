"""How much may wait: callers and spawners apart, one map alone, and what a restart remembers."""
from __future__ import annotations

import asyncio

import pytest
from fakes import SPEC

from windlass import exception
from windlass.kit import ids
from windlass.server.decide import admission

NONE = {**SPEC["autoscaler"], "max_containers": 1}


def test_waiting_callers_are_limited_and_spawners_have_a_limit_of_their_own(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(autoscaler=NONE)
        await client.create(function, list(range(50)), kind="spawn")
        await client.create(function, list(range(8)), kind="map")
        with pytest.raises(exception.ResourceExhaustedError, match=r"8 inputs wait.*at most 10"):
            await client.create(function, [1, 2, 3], kind="map")
        await client.create(function, [1, 2], kind="remote")
        with pytest.raises(exception.ResourceExhaustedError, match=r"50 inputs wait.*at most 55"):
            await client.create(function, list(range(6)), kind="spawn")

    play(scene, sync_waiting=10, spawn_queued=55)


def test_what_ends_makes_room_again(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: None)
        client = await platform.client()
        function = await client.app()
        for _ in range(5):
            assert len(await client.run(function, list(range(10)), kind="map")) == 10
        live = platform.core.world.functions[function]
        assert (live.open_sync, live.open_spawned) == (0, 0)

    play(scene, sync_waiting=10, sync_total=12)


def test_cancelled_inputs_make_room_as_well(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(autoscaler=NONE)
        call_id = await client.create(function, list(range(10)), kind="map")
        await client.request("call.cancel", call_id=call_id)
        await client.create(function, list(range(10)), kind="map")

    play(scene, sync_waiting=10)


def test_one_map_may_have_so_many_inputs_on_their_way(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(autoscaler=NONE)
        with pytest.raises(exception.ResourceExhaustedError, match="one map"):
            await client.create(function, list(range(21)), kind="map")
        await client.create(function, list(range(20)), kind="map")
        await client.create(function, list(range(20)), kind="map")

    play(scene, map_outstanding=20)


def test_counts_are_the_same_after_a_restart(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(state="detached", autoscaler=NONE)
        await client.create(function, list(range(7)), kind="map")
        await client.create(function, list(range(9)), kind="spawn")
        await platform.stop()
        await platform.start()
        live = platform.core.world.functions[function]
        assert (live.open_sync, live.open_spawned) == (7, 9)

    play(scene)


def test_a_rate_is_kept_where_the_settings_have_one(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: None)
        client = await platform.client()
        function = await client.app()
        results = await asyncio.gather(*[client.run(function, [i]) for i in range(30)], return_exceptions=True)
        refused = [r for r in results if isinstance(r, exception.ResourceExhaustedError)]
        assert 15 <= len(refused) <= 20 and "more than 1 times a second" in str(refused[0])

    play(scene, sync_rate=1.0, rate_burst=10.0)  # of which it gets hardly more while they come


def test_a_crash_loop_of_a_deployed_app_tries_one_container_at_a_time_and_ever_more_seldom(play):
    async def scene(platform):
        worker = await platform.worker(None)
        worker.fail_start = {"reason": "exited", "exit_code": 1}
        client = await platform.client()
        function = ids.new("fu")
        await client.deploy(ids.new("ap"), f=(function, {}))
        await client.create(function, list(range(100)))
        live = platform.core.world.functions[function]
        while live.failures < 6:
            await asyncio.sleep(0.01)
        at = len(worker.started)
        await asyncio.sleep(2.5)
        assert len(worker.started) - at <= 1
        worker.fail_start, worker.work = None, lambda args, kwargs, lease: None
        live.not_before = 0.0
        while live.open_spawned:
            await asyncio.sleep(0.01)

    play(scene)


def test_a_budget_of_calls_refills_with_time():
    budget = admission.spend(None, 0.0, rate=2.0, burst=1.0, tag="f")
    budget = admission.spend(budget, 0.0, rate=2.0, burst=1.0, tag="f")
    with pytest.raises(exception.ResourceExhaustedError):
        admission.spend(budget, 0.1, rate=2.0, burst=1.0, tag="f")
    assert admission.spend(budget, 0.6, rate=2.0, burst=1.0, tag="f").left < 1
