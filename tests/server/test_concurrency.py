"""Containers that take several inputs: how many, which one, how many containers, and what becomes of crashes."""
from __future__ import annotations

import asyncio
import collections

import pytest

from windlass import exception
from windlass.server.decide import capacity, scale

TEN = {"max_inputs": 10, "target_inputs": 10}
BURST = {"max_inputs": 10, "target_inputs": 4}
BATCH = {"max_batch_size": 5, "wait_ms": 20}


def bounds(most: int = 0) -> dict:
    return {"min_containers": 0, "max_containers": most, "buffer_containers": 0, "scaledown_window": 60.0}


async def until(condition, seconds: float = 10.0):
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def keep(args, kwargs, lease):
    return NotImplemented


def held(worker) -> list[int]:
    return sorted(len(r.held) for r in worker.runners.values())


async def finish(runner, *inputs: str) -> None:
    outputs = [
        {"input_id": i, "attempt": runner.held.pop(i), "status": "success", "seconds": 1.0, "items": 0} for i in inputs
    ]
    await runner.peer.request("runner.outputs", {"outputs": outputs})


def test_a_container_holds_as_many_as_it_may_and_gets_another_for_each_that_ends(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler=bounds(1))
        await client.create(function, list(range(25)))
        await until(lambda: held(worker) == [10])
        (runner,) = worker.runners.values()
        stats = await client.request("function.stats", function_id=function)
        assert stats["num_running_inputs"] == 10 and stats["backlog"] == 15 and stats["input_headroom"] == 0
        await finish(runner, *list(runner.held)[:3])
        await until(lambda: held(worker) == [10])
        assert len(runner.seen) == 13

    play(scene)


def test_the_autoscaler_plans_with_targets_and_a_burst_goes_beyond_them(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=BURST, autoscaler=bounds())
        await client.create(function, list(range(12)))
        await until(lambda: len(worker.runners) == 3 and sum(held(worker)) == 12)
        await asyncio.sleep(0.1)
        assert len(worker.started) == 3

    play(scene)


def test_at_the_ceiling_of_containers_each_takes_more_than_its_target(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=BURST, autoscaler=bounds(2))
        await client.create(function, list(range(40)))
        await until(lambda: held(worker) == [10, 10])
        stats = await client.request("function.stats", function_id=function)
        assert stats["backlog"] == 20 and stats["num_total_runners"] == 2

    play(scene)


def test_single_inputs_go_to_the_container_that_is_fullest_so_that_others_go_cold(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler={**bounds(2), "min_containers": 2})
        await until(lambda: len(worker.runners) == 2)
        for _ in range(6):
            await client.create(function, [1])
        await until(lambda: sum(held(worker)) == 6)
        assert held(worker) == [0, 6]

    play(scene)


def test_batches_are_filled_one_after_the_other(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(batching=BATCH, autoscaler={**bounds(3), "min_containers": 3})
        await until(lambda: len(worker.runners) == 3)
        await asyncio.sleep(0.05)
        await client.create(function, list(range(7)))
        await until(lambda: sum(held(worker)) == 7)
        assert held(worker) == [0, 2, 5]

    play(scene)


def test_a_container_that_has_closed_its_batch_gets_nothing_until_it_has_ended(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(batching=BATCH, autoscaler=bounds(1))
        await client.create(function, [1, 2])
        await until(lambda: held(worker) == [2])
        (runner,) = worker.runners.values()
        await runner.peer.request("runner.release", {"inputs": []})
        await client.create(function, [3])
        await asyncio.sleep(0.1)
        assert held(worker) == [2]
        await finish(runner, *list(runner.held))
        await until(lambda: held(worker) == [1])

    play(scene)


def test_one_batch_is_the_unit_of_scaling(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(batching=BATCH, autoscaler=bounds())
        await client.create(function, list(range(15)))
        await until(lambda: held(worker) == [5, 5, 5])
        await asyncio.sleep(0.1)
        assert len(worker.started) == 3

    play(scene)


def test_a_batch_may_wait_longer_than_its_timeout_before_it_runs(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(batching={"max_batch_size": 5, "wait_ms": 5000}, timeout=1.0, autoscaler=bounds(1))
        call = await client.create(function, [1])
        await asyncio.sleep(1.6)
        assert held(worker) == [1]
        (runner,) = worker.runners.values()
        await finish(runner, *list(runner.held))
        assert [o["status"] for o in await client.outputs(call)] == ["success"]

    play(scene, timeout_slack=0.1)


def test_all_that_a_dead_container_held_runs_again_together_and_then_the_suspects_alone(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler=bounds(1))
        call = await client.create(function, list(range(4)), kind="map")
        for number in range(2):
            await until(lambda n=number: len(worker.started) == n + 1 and held(worker) == [4])
            (identity,) = worker.runners
            await worker.exit(identity, {"reason": "signal", "signal": 9})
        for left in range(4, 0, -1):
            await until(lambda: held(worker) == [1])
            await asyncio.sleep(0.05)
            assert held(worker) == [1], left
            (runner,) = worker.runners.values()
            await finish(runner, *list(runner.held))
        outputs = await client.outputs(call)
        assert collections.Counter(o["status"] for o in outputs) == {"success": 4}
        assert all(o["retries"] == 0 for o in outputs)

    play(scene)


def test_a_suspect_gets_a_container_of_its_own_beside_the_others(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler=bounds())
        await client.create(function, [1, 2])
        for number in range(2):
            await until(lambda n=number: len(worker.started) == n + 1 and held(worker) == [2])
            (identity,) = worker.runners
            await worker.exit(identity, {"reason": "signal", "signal": 9})
        await until(lambda: held(worker) == [1, 1])

    play(scene)


def test_what_is_given_back_is_not_charged(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler=bounds(1))
        call = await client.create(function, [1, 2], kind="map")
        for number in range(4):
            await until(lambda n=number: len(worker.started) == n + 1 and held(worker) == [2])
            (identity,) = worker.runners
            runner = worker.runners[identity]
            given = [{"input_id": i, "attempt": a} for i, a in runner.held.items()]
            await runner.peer.request("runner.release", {"inputs": given, "leaving": True})
            await worker.exit(identity, {"reason": "exited", "exit_code": 1})
        await until(lambda: held(worker) == [2])
        (runner,) = worker.runners.values()
        await finish(runner, *list(runner.held))
        assert [o["status"] for o in await client.outputs(call)] == ["success"] * 2

    play(scene)


def test_a_single_use_container_takes_one_input_whatever_else_is_asked_for(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: None)
        client = await platform.client()
        function = await client.app(concurrency=TEN, single_use=True)
        await client.run(function, [1, 2, 3], kind="map")
        assert len(worker.started) >= 3

    play(scene)


@pytest.mark.parametrize(
    "shape",
    [
        {"concurrency": {"max_inputs": 1, "target_inputs": 2}},
        {"concurrency": {"max_inputs": 0, "target_inputs": 0}},
        {"batching": {"max_batch_size": 1001, "wait_ms": 0}},
        {"batching": {"max_batch_size": 1, "wait_ms": -1}},
        {"batching": BATCH, "is_generator": True},
        {"batching": BATCH, "methods": {"a": {}, "b": {}}, "class_name": "C"},
    ],
)
def test_shapes_that_no_decorator_makes_are_refused(play, shape):
    async def scene(platform):
        client = await platform.client()
        with pytest.raises(exception.InvalidError):
            await client.app(**shape)

    play(scene)


def spec(**more):
    return {"single_use": False, **more}


def test_capacity_says_how_many():
    assert capacity.of(spec(), None)[:3] == (1, 1, 1)
    assert capacity.of(spec(), 0.0001).most == 64 and not capacity.of(spec(), 0.0001).shared
    assert capacity.of(spec(concurrency=BURST), None)[:3] == (4, 4, 10)
    assert capacity.of(spec(batching=BATCH), 1.0)[:3] == (5, 5, 5)
    assert capacity.of(spec(batching=BATCH), 0.001)[:3] == (5, 10, 10)  # the next one is gathered meanwhile
    assert capacity.of(spec(batching=BATCH, concurrency=BURST), 1.0)[:3] == (20, 20, 50)
    assert capacity.of(spec(concurrency=TEN, single_use=True), 0.0).most == 1


@pytest.mark.parametrize(
    ("load", "seconds", "wanted"), [(1, None, 1), (100, None, 1), (101, None, 2), (1000, 0.001, 1)]
)
def test_containers_are_counted_in_units(load, seconds, wanted):
    sample = scale.Sample(
        queued=load, busy=0, seconds=seconds, elapsed=0.0, active=True, minimum=0, maximum=0, buffer=0, unit=100
    )
    assert scale.needed(sample) == wanted


@pytest.mark.parametrize(("single", "wanted"), [(True, 100), (False, 1)])
def test_inputs_that_have_a_container_each_anyway_do_not_wait_for_one_that_runs(single, wanted):
    sample = scale.Sample(
        queued=100, busy=0, seconds=0.001, elapsed=0.0, active=True, minimum=0, maximum=0, buffer=0, single=single
    )
    assert scale.needed(sample) == wanted


async def narrow(runner, slots: int) -> None:
    await runner.peer.request("runner.slots", {"slots": slots})


def test_code_may_want_fewer_inputs_at_once_and_then_more_again(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler=bounds(1))
        await client.create(function, list(range(40)))
        await until(lambda: held(worker) == [10])
        (runner,) = worker.runners.values()
        await narrow(runner, 4)
        await finish(runner, *list(runner.held)[:8])
        await until(lambda: held(worker) == [4])
        await asyncio.sleep(0.05)
        stats = await client.request("function.stats", function_id=function)
        assert held(worker) == [4] and stats["input_headroom"] == 0
        await narrow(runner, 9)
        await until(lambda: held(worker) == [9])
        await narrow(runner, 99)
        await until(lambda: held(worker) == [10])  # no more than the function allows
        with pytest.raises(exception.InvalidError):
            await narrow(runner, 0)

    play(scene)


def test_the_autoscaler_reckons_with_what_code_wants(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler=bounds(3))
        await client.create(function, [1])
        await until(lambda: held(worker) == [1])
        (runner,) = worker.runners.values()
        await narrow(runner, 1)
        await client.create(function, [2, 3])  # by itself, ten of them would fit
        await until(lambda: len(worker.runners) > 1 and sum(held(worker)) == 3)
        assert len(runner.held) == 1

    play(scene)


def test_a_runner_that_comes_back_says_again_what_its_code_wants(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(concurrency=TEN, autoscaler=bounds(1))
        await client.create(function, [1])
        await until(lambda: held(worker) == [1])
        (runner,) = worker.runners.values()
        runner.peer.close()
        await until(lambda: not runner.connected)
        runner.slots = 2
        await runner.start()
        await client.create(function, list(range(5)))
        await until(lambda: held(worker) == [2])
        await asyncio.sleep(0.05)
        assert held(worker) == [2]

    play(scene)


def test_a_limit_of_code_counts_batches_and_never_goes_beyond_the_function():
    both = capacity.of(spec(batching=BATCH, concurrency=BURST), 1.0)
    assert capacity.within(both, 2)[:3] == (10, 10, 10)
    assert capacity.within(both, 7)[:3] == (20, 20, 35)
    assert capacity.within(both, 99) == capacity.within(both, None) == both
    assert capacity.within(capacity.of(spec(), 0.0001), 1).most == 64  # one after the other, all the same
    assert capacity.average(both, [None, None]) == 20 and capacity.average(both, [None, 2]) == 15
