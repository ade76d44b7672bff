"""Promise 9: scale to zero and back costs no request an error."""
from __future__ import annotations

import asyncio
import random
import time

import fakes


def test_calls_that_come_just_as_containers_go_all_succeed(act):
    async def scene(server):
        worker = await fakes.Worker(server.home, lambda args, kwargs, lease: args[0]).start()
        client = await fakes.Client(server.home).start()
        window = {"min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": 0.05}
        function = await client.app(autoscaler=window)
        dice, deadline = random.Random(3), time.monotonic() + 30

        async def caller(number: int):
            turn = 0
            while turn < 12 or (len(worker.started) <= 4 and time.monotonic() < deadline):
                await asyncio.sleep(dice.uniform(0.0, 0.2))
                (output,) = await client.run(function, [(number, turn)])
                assert output["status"] == "success" and output["data"] == (number, turn)
                turn += 1

        await asyncio.gather(*[caller(number) for number in range(4)])
        assert len(worker.started) > 4, "nothing was scaled down in this test"
        while worker.runners:  # or the scene ends without it
            await asyncio.sleep(0.02)

    act(scene)
