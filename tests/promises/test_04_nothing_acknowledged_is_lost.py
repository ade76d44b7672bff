"""Promise 4: restarting the server loses no state and kills no container."""
from __future__ import annotations

import asyncio
import sqlite3

import fakes


def test_a_running_input_ends_in_the_container_in_which_it_began(act):
    async def scene(server):
        release = asyncio.Event()

        async def work(args, kwargs, lease):
            await release.wait()
            return lease["attempt"]

        worker = await fakes.Worker(server.home, work).start()
        client = await fakes.Client(server.home).start()
        function = await client.app()
        call_id = await client.create(function, [1])
        while not any(r.held for r in worker.runners.values()):
            await asyncio.sleep(0.01)
        before = dict(worker.runners)
        await server.restart()
        await worker.start()
        for runner in worker.runners.values():
            await runner.start()
        await asyncio.sleep(0.3)
        release.set()
        client = await fakes.Client(server.home).start()
        (output,) = await client.outputs(call_id)
        assert output["data"] == 1 and worker.runners == before

    act(scene)


def test_apps_results_logs_and_images_are_there_after_a_restart(act):
    async def scene(server):
        worker = await fakes.Worker(server.home, lambda args, kwargs, lease: args[0]).start()
        client = await fakes.Client(server.home).start()
        function = await client.app()
        call_id = await client.create(function, [7])
        await client.outputs(call_id)
        (identity,) = worker.runners
        await worker.log(identity, 5, "line\n")
        assert server.stop() == 0
        await server.start()
        again = await fakes.Client(server.home).start()
        assert [o["data"] for o in await again.outputs(call_id)] == [7]
        assert (await again.request("app.get", app=client.app_id))["state"] == "ephemeral"
        texts = []
        async for item in again.peer.stream("app.logs", {"app_id": client.app_id}):
            texts += [e["text"] for e in item.body["entries"]]
        assert texts == ["line\n"]

    act(scene)


def test_a_second_server_on_the_same_state_is_refused(act):
    async def scene(server):
        import subprocess
        import sys

        command = [sys.executable, "-m", "windlass.server", "--home", str(server.home)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert second.returncode == 1 and "another server runs" in second.stderr

    act(scene)


def test_the_database_of_a_newer_release_is_refused_with_a_clear_error(act):
    async def scene(server):
        server.stop()
        with sqlite3.connect(server.home / "db/windlass.sqlite3") as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            db.execute("PRAGMA user_version = 999")
        import subprocess
        import sys

        command = [sys.executable, "-m", "windlass.server", "--home", str(server.home)]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert refused.returncode == 1 and "newer Windlass" in refused.stderr
        with sqlite3.connect(server.home / "db/windlass.sqlite3") as db:
            db.execute(f"PRAGMA user_version = {version}")
        await server.start()

    act(scene)
