"""Promise 1: an input's result is recorded at most once, whatever dies."""
from __future__ import annotations

import asyncio
import random
import time

import fakes

from windlass import exception
from windlass.kit import ids


class Sturdy:
    """A client, runner or worker that comes back after the server died."""

    @staticmethod
    async def again(action):
        deadline = time.monotonic() + 45
        while time.monotonic() < deadline:
            try:
                return await action()
            except (exception.ServiceError, exception.ConflictError, OSError):
                await asyncio.sleep(0.02)
        raise AssertionError("the server did not come back")


async def keep_worker(worker: fakes.Worker) -> None:
    """Reconnect the worker and its runners whenever they have lost the server."""
    while True:
        await asyncio.sleep(0.02)
        if not worker.peer.connected:
            await Sturdy.again(worker.start)
        for identity, runner in list(worker.runners.items()):
            if not runner.connected:
                if runner.peer is not None:
                    runner.held.clear()
                try:
                    await Sturdy.again(runner.start)
                except exception.AuthError:  # its container was given up meanwhile
                    await worker.exit(identity, {"reason": "exited", "exit_code": 1})


async def mapped(client: fakes.Client, function: str, total: int) -> list[dict]:
    """A map as the SDK does it: put, follow, and begin again where it was when the connection is lost."""
    call_id, outputs, sent = ids.new("fc"), [], 0

    async def put():
        nonlocal sent
        while sent < total:
            items, data = client.inputs(list(range(sent, min(total, sent + 50))), first=sent)
            body = {"call_id": call_id, "function_id": function, "kind": "map", "inputs": items, "closed": False}

            async def once(body=body, data=data):
                await client.peer.request("call.create", body, data)

            await Sturdy.again(once)
            sent += len(items)

        async def close():
            await client.peer.request("call.put", {"call_id": call_id, "inputs": [], "closed": True})

        await Sturdy.again(close)

    async def follow():
        while True:
            try:
                query = {"call_id": call_id, "after": len(outputs)}
                async for item in client.peer.stream("call.outputs", query):
                    outputs.extend(item.body["outputs"])
                    if item.body["done"]:
                        return
            except (exception.ServiceError, exception.NotFoundError):
                await asyncio.sleep(0.02)

    async def reconnect():
        while True:
            await asyncio.sleep(0.02)
            if not client.peer.connected:
                await Sturdy.again(client.start)

    back = asyncio.ensure_future(reconnect())
    await asyncio.gather(put(), follow())
    back.cancel()
    return outputs


def test_a_map_survives_a_server_killed_again_and_again(act):
    async def scene(server):
        async def work(args, kwargs, lease):
            await asyncio.sleep(0.001)
            return args[0]

        worker = await fakes.Worker(server.home, work).start()
        client = await fakes.Client(server.home).start()
        function = await client.app()
        keeping = asyncio.ensure_future(keep_worker(worker))
        running = asyncio.ensure_future(mapped(client, function, 1000))
        for _ in range(3):
            await asyncio.sleep(random.uniform(0.05, 0.2))
            if not running.done():
                await server.restart()
        done, _ = await asyncio.wait({running, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if keeping in done:
            keeping.result()
        outputs = running.result()
        keeping.cancel()
        assert sorted(o["index"] for o in outputs) == list(range(1000))
        assert [o["seq"] for o in outputs] == list(range(1, 1001))
        assert {o["status"] for o in outputs} == {"success"}

    act(scene, reconnect=2)


def test_two_outputs_of_one_attempt_and_one_of_an_older_are_one_result(act):
    async def scene(server):
        worker = await fakes.Worker(server.home, lambda *_: NotImplemented).start()
        client = await fakes.Client(server.home).start()
        function = await client.app()
        call_id = await client.create(function, [1])
        while not any(r.held for r in worker.runners.values()):
            await asyncio.sleep(0.01)
        (runner,) = [r for r in worker.runners.values() if r.held]
        ((identity, attempt),) = runner.held.items()
        one = {"input_id": identity, "attempt": attempt, "status": "success"}
        old = {"input_id": identity, "attempt": attempt - 1, "status": "failure", "failure": {"repr": "old"}}
        await runner.peer.request("runner.outputs", {"outputs": [old, one, one]})
        await runner.peer.request("runner.outputs", {"outputs": [one]})
        assert [o["status"] for o in await client.outputs(call_id)] == ["success"]

    act(scene)
