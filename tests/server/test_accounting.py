"""What apps had of the machines, as the server counts it."""
from __future__ import annotations

import asyncio
import time

import pytest

from windlass import exception
from windlass.server.apply import accounting


def keep(args, kwargs, lease):
    return NotImplemented


async def until(true):
    while not true():
        await asyncio.sleep(0.01)


def test_usage_counts_what_lives_and_what_ended_and_outlives_its_app(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        worker.gpus = []
        client = await platform.client()
        await client.request("environment.create", name="staging")
        function = await client.app(cpu_request=2.0, memory_request=1024)
        call = await client.create(function, ["x"])
        await until(lambda: worker.runners)
        (container,) = platform.core.world.containers.values()
        container.created_at -= 100.0  # as if it had been there for a while

        living = await client.request("billing.report", resolution="total")
        (row,) = living["rows"]
        assert 200 <= row["cpu_seconds"] < 260 and row["used_cpu_seconds"] == 0
        assert row["memory_gib_seconds"] == pytest.approx(row["cpu_seconds"] / 2)
        assert (row["gpu_seconds"], row["containers"], row["app_id"]) == (0, 1, container.function.app.id)

        await client.request("call.cancel", call_id=call)
        await worker.exit(container.id, {"reason": "exited", "exit_code": 0, "cpu_seconds": 7.5})
        await until(lambda: container.id not in platform.core.world.containers)
        ended = await client.request("billing.report", resolution="total")
        (row,) = ended["rows"]
        assert 200 <= row["cpu_seconds"] < 260 and row["used_cpu_seconds"] == pytest.approx(7.5)

        by_hour = (await client.request("billing.report", resolution="hour"))["rows"]
        assert sum(one["used_cpu_seconds"] for one in by_hour) == pytest.approx(7.5)
        assert all(one["begin"] % 3600 == 0 for one in by_hour)
        (day, *rest) = (await client.request("billing.report", resolution="day"))["rows"]
        assert day["begin"] % 86400 == 0 and len(rest) <= 1, "one day, or two around midnight"

        assert (await client.request("billing.report", environment="staging"))["rows"] == []
        await client.request("environment.update", name="main", set_name="kept")
        assert (await client.request("billing.report", environment="kept"))["rows"][0]["environment"] == "kept"
        with pytest.raises(exception.NotFoundError):
            await client.request("billing.report", environment="nowhere")

        platform.core.turn.begin()
        accounting.forget(platform.core, time.time() - 2 * 86400)
        assert (await client.request("billing.report"))["rows"]
        accounting.forget(platform.core, time.time() + 3600)
        assert (await client.request("billing.report"))["rows"] == []

    play(scene)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"since": 2e9, "until": 1e9}, "before it begins"),
        ({"since": 9e15, "until": 9e15}, "before it begins"),
        ({"since": -9e15, "until": -8e15}, "before it begins"),
        ({"since": 0.0, "until": 1e9}, "400 days"),
        ({"since": 0.0, "until": 40 * 86400.0, "resolution": "hour"}, "31 days"),
        ({"resolution": "moon"}, "hour, day or total"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(play, query, word):
    async def scene(platform):
        client = await platform.client()
        with pytest.raises(exception.InvalidError, match=word):
            await client.request("billing.report", **query)

    play(scene)
