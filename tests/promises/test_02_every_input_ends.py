"""Promise 2: an accepted input ends: finished, failed, cancelled or expired. Never forgotten."""
from __future__ import annotations

import asyncio

import fakes


def test_an_acknowledged_input_runs_although_the_server_was_killed_at_once(act):
    async def scene(server):
        client = await fakes.Client(server.home).start()
        function = await client.app()
        call_id = await client.create(function, [1, 2, 3])
        await server.restart()
        client = await fakes.Client(server.home).start()
        await fakes.Worker(server.home, lambda args, kwargs, lease: args[0]).start()
        outputs = await client.outputs(call_id)
        assert sorted(o["data"] for o in outputs) == [1, 2, 3]

    act(scene)


def test_an_input_whose_container_vanished_with_the_server_runs_elsewhere(act):
    async def scene(server):
        worker = await fakes.Worker(server.home, lambda *_: NotImplemented).start()
        client = await fakes.Client(server.home).start()
        function = await client.app()
        call_id = await client.create(function, [5])
        while not any(r.held for r in worker.runners.values()):
            await asyncio.sleep(0.01)
        server.kill()
        for runner in worker.runners.values():
            runner.peer.close()
        await server.start()
        client = await fakes.Client(server.home).start()
        other = fakes.Worker(server.home, lambda args, kwargs, lease: args[0])
        other.started = []
        await other.start()
        (output,) = await client.outputs(call_id)
        assert output["data"] == 5

    act(scene, reconnect=0.5)


def test_a_cancelled_input_ends_although_the_server_was_killed(act):
    async def scene(server):
        client = await fakes.Client(server.home).start()
        function = await client.app()
        call_id = await client.create(function, list(range(10)))
        await client.request("call.cancel", call_id=call_id)
        await server.restart()
        client = await fakes.Client(server.home).start()
        outputs = await client.outputs(call_id)
        assert [o["status"] for o in outputs] == ["terminated"] * 10

    act(scene)


def test_a_retry_that_waits_for_its_time_survives_a_killed_server(act):
    async def scene(server):
        tried = []

        def work(args, kwargs, lease):
            tried.append(lease["retries"])
            if not lease["retries"]:
                raise ValueError("once")
            return "good"

        worker = await fakes.Worker(server.home, work).start()
        client = await fakes.Client(server.home).start()
        policy = {"max_retries": 2, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 60.0}
        function = await client.app(retries=policy)
        call_id = await client.create(function, [1])
        while not tried or any(runner.held for runner in worker.runners.values()):  # until the failure is recorded
            await asyncio.sleep(0.01)
        await server.restart()
        for runner in worker.runners.values():
            await runner.start()
        await worker.start()
        client = await fakes.Client(server.home).start()
        (output,) = await client.outputs(call_id)
        assert output["data"] == "good" and output["retries"] == 1 and tried == [0, 1]

    act(scene)
