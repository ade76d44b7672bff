"""Promise 3: losing every wake-up makes the system slow, never wrong."""
from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from pathlib import Path

import fakes

from windlass.server import compose, settings
from windlass.server.apply import schedule


def test_without_any_wake_everything_still_happens_at_the_next_tick(monkeypatch):
    home = Path(tempfile.mkdtemp(prefix="w-pro-"))

    async def main():
        chosen = dataclasses.replace(settings.Settings(home=home), tick=0.05)
        async with compose.server(chosen) as core:
            monkeypatch.setattr(core.scheduler, "set", lambda: None)
            monkeypatch.setattr(schedule, "scale_function", lambda *a: None)
            worker = fakes.Worker(home, lambda args, kwargs, lease: args[0])
            await worker.start()
            client = await fakes.Client(home).start()
            function = await client.app()
            call_id = await client.create(function, [1, 2, 3])
            await asyncio.sleep(0.2)
            assert not worker.started
            monkeypatch.undo()
            monkeypatch.setattr(core.scheduler, "set", lambda: None)
            outputs = await asyncio.wait_for(client.outputs(call_id), 10)
            assert sorted(o["data"] for o in outputs) == [1, 2, 3]

    try:
        asyncio.run(main())
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_a_worker_that_missed_what_is_wanted_hears_it_again(act):
    async def scene(server):
        worker = fakes.Worker(server.home, lambda args, kwargs, lease: args[0], run=False)
        await worker.start()
        client = await fakes.Client(server.home).start()
        function = await client.app()
        call_id = await client.create(function, [1])
        await asyncio.sleep(0.3)
        worker.run = True
        (output,) = await client.outputs(call_id)
        assert output["data"] == 1

    act(scene)
