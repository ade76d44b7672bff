"""What callers see, with a real server and fake runners."""
from __future__ import annotations

import asyncio

import pytest

from windlass import exception
from windlass.kit import ids


def test_a_call_runs_in_a_container_and_its_value_comes_back(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0] * 2)
        client = await platform.client()
        function = await client.app()
        (output,) = await client.run(function, [21])
        assert output["status"] == "success" and output["data"] == 42 and client.done

    play(scene)


def test_a_map_returns_every_input_exactly_once(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0] + 1)
        client = await platform.client()
        function = await client.app()
        outputs = await client.run(function, list(range(3000)), kind="map")
        assert sorted(o["data"] for o in outputs) == list(range(1, 3001))
        assert [o["seq"] for o in outputs] == list(range(1, 3001))

    play(scene, window=500, sync_waiting=3000, map_outstanding=3000)


def test_an_exception_is_retried_and_the_last_one_is_the_output(play):
    tries = []

    async def scene(platform):
        def work(args, kwargs, lease):
            tries.append(lease["retries"])
            raise ValueError("no")

        await platform.worker(work)
        client = await platform.client()
        policy = {"max_retries": 1, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 60.0}
        function = await client.app(retries=policy)
        (output,) = await client.run(function, [1])
        assert output["status"] == "failure" and output["failure"]["kind"] == "ValueError"
        assert isinstance(output["data"], ValueError) and output["retries"] == 1

    play(scene)
    assert tries == [0, 1]


def test_repeating_a_request_changes_nothing(play):
    async def scene(platform):
        ran = []
        await platform.worker(lambda args, kwargs, lease: ran.append(args[0]))
        client = await platform.client()
        function = await client.app()
        call_id = await client.create(function, [1, 2])
        await client.create(function, [1, 2], call_id=call_id)
        await client.outputs(call_id)
        await client.create(function, [1, 2], call_id=call_id)
        assert len(await client.outputs(call_id)) == 2 and sorted(ran) == [1, 2]

    play(scene)


def test_outputs_resume_after_a_position(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0])
        client = await platform.client()
        function = await client.app()
        call_id = await client.create(function, list(range(10)))
        everything = await client.outputs(call_id)
        assert [o["seq"] for o in await client.outputs(call_id, after=7)] == [8, 9, 10]
        (one,) = await client.outputs(call_id, indexes=[3])
        assert one["data"] == 3 and len(everything) == 10

    play(scene)


def test_polling_a_pending_call_says_that_nothing_is_there(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app()
        call_id = await client.create(function, [1])
        assert await client.outputs(call_id, wait=False) == [] and client.done is False
        assert (await client.request("call.get", call_id=call_id))["status"] == "pending"

    play(scene)


def test_cancelling_ends_what_waits_and_stops_what_runs(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: NotImplemented)
        client = await platform.client()
        autoscaler = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0, "scaledown_window": 60.0}
        function = await client.app(autoscaler=autoscaler)
        call_id = await client.create(function, list(range(5)))
        while not (worker.runners and any(r.seen for r in worker.runners.values())):
            await asyncio.sleep(0.01)
        (runner,) = worker.runners.values()
        await client.request("call.cancel", call_id=call_id)
        while not runner.cancelled:
            await asyncio.sleep(0.01)
        held = [{"input_id": i, "attempt": a, "status": "terminated"} for i, a in runner.held.items()]
        await runner.peer.request("runner.outputs", {"outputs": held})
        outputs = await client.outputs(call_id)
        assert {o["status"] for o in outputs} == {"terminated"} and len(outputs) == 5
        assert len(runner.seen) == 1

    play(scene)


def test_an_unknown_function_and_a_stopped_app_are_named(play):
    async def scene(platform):
        client = await platform.client()
        with pytest.raises(exception.NotFoundError, match="no function"):
            await client.run(ids.new("fu"), [1])
        function = await client.app()
        await client.request("app.stop", app_id=client.app_id, reason="done")
        with pytest.raises(exception.ConflictError, match="stopped"):
            await client.run(function, [1])

    play(scene)


def test_a_generator_streams_its_items_in_order(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: NotImplemented)
        client = await platform.client()
        function = await client.app(is_generator=True)
        running = asyncio.ensure_future(client.run(function, [1], kind="gen"))
        while not (worker.runners and any(r.held for r in worker.runners.values())):
            await asyncio.sleep(0.01)
        (runner,) = worker.runners.values()
        ((input_id, attempt),) = runner.held.items()
        import pickle

        for number in range(3):
            item = {"input_id": input_id, "attempt": attempt, "status": "item", "item": number}
            data = pickle.dumps(number)
            item["value"] = {"at": 0, "size": len(data)}
            await runner.peer.request("runner.outputs", {"outputs": [item]}, [data])
        end = {"input_id": input_id, "attempt": attempt, "status": "success", "items": 3, "seconds": 1.0}
        await runner.peer.request("runner.outputs", {"outputs": [end]})
        outputs = await running
        assert [o.get("data") for o in outputs] == [0, 1, 2, None]
        assert [o.get("item") for o in outputs[:3]] == [0, 1, 2] and outputs[3]["items"] == 3

    play(scene)
