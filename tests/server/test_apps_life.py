"""Apps, their logs and images, as their users see them."""
from __future__ import annotations

import asyncio

import pytest
from test_containers_life import LIMIT_ONE, keep, until

from windlass import exception
from windlass.client import run
from windlass.kit import ids


async def read_logs(client, **query):
    entries = []
    async for item in client.peer.stream("app.logs", query):
        entries += item.body["entries"]
    return entries


def test_stopping_an_app_ends_its_inputs_and_then_its_logs(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)
        following = asyncio.ensure_future(read_logs(client, app_id=client.app_id, follow=True))
        running = asyncio.ensure_future(client.run(function, [1, 2], kind="map"))
        await until(lambda: any(r.seen for r in worker.runners.values()))
        (identity, runner), = worker.runners.items()
        await worker.log(identity, 10, "hello\n", "world", input_id=runner.seen[0]["input_id"])
        await worker.log(identity, 10, "hello\n", "world")
        await client.request("app.stop", app_id=client.app_id, reason="done")
        assert {o["status"] for o in await running} == {"terminated"}
        entries = await following
        assert [e["text"] for e in entries] == ["hello\n", "world"]
        assert entries[0]["call_id"] == runner.seen[0]["call_id"] and entries[0]["container_id"] == identity
        info = await client.request("app.get", app=client.app_id)
        assert info["state"] == "stopped" and info["containers"] == 0
        assert [e["text"] for e in await read_logs(client, app_id=client.app_id, tail=1)] == ["world"]
        assert [e["text"] for e in await read_logs(client, app_id=client.app_id, search="hell")] == ["hello\n"]

    play(scene)


def test_who_follows_logs_again_misses_none_whatever_their_times(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)
        running = asyncio.ensure_future(client.run(function, [1], kind="map"))
        await until(lambda: any(r.seen for r in worker.runners.values()))
        (identity,) = worker.runners
        await worker.log(identity, 10, "early\n", "late\n")
        platform.core.db.run("UPDATE log SET time = time - n * 100", ())  # as of a container that was heard later
        shown = []

        class Cut:
            """A connection that is lost after each answer."""

            async def stream(self, method, query):
                async for item in client.peer.stream(method, query):
                    yield item
                    if len(shown) < 2:
                        await worker.log(identity, 20, "latest\n")
                        platform.core.db.run("UPDATE log SET time = time - n * 100", ())
                        raise exception.ServiceError("cut")

        class Shown:
            def logs(self, entries):
                shown.append([entry["text"] for entry in entries])

        following = asyncio.ensure_future(run.follow_logs(Cut(), {"app_id": client.app_id}, Shown()))
        await until(lambda: len(shown) == 2)
        await client.request("app.stop", app_id=client.app_id, reason="done")
        await asyncio.gather(running, following)
        assert shown == [["early\n", "late\n"], ["latest\n"]]

    play(scene)


def test_an_ephemeral_app_stops_when_its_client_falls_silent(play):
    async def scene(platform):
        client = await platform.client()
        await client.app()
        await until(lambda: client.app_id not in platform.core.world.apps)
        assert (await client.request("app.get", app=client.app_id))["state"] == "stopped"

    play(scene, app_silence=0.2)


def test_a_detached_app_stops_after_its_last_input(play):
    async def scene(platform):
        release = asyncio.Event()

        async def work(args, kwargs, lease):
            await release.wait()

        await platform.worker(work)
        client = await platform.client()
        function = await client.app("detached")
        await client.create(function, [1])  # before the server finds that its client is silent, and nothing to do
        await until(lambda: platform.core.world.apps[client.app_id].draining)
        await asyncio.sleep(0.2)
        assert (await client.request("app.get", app=client.app_id))["state"] == "ephemeral (detached)"
        release.set()
        await until(lambda: client.app_id not in platform.core.world.apps)
        assert (await client.request("app.get", app=client.app_id))["state"] == "stopped"

    play(scene, app_silence=1.5)


def test_a_waiting_call_is_cancelled_when_its_caller_is_gone_and_a_spawned_one_is_not(play):
    async def scene(platform):
        await platform.worker(keep)
        other, client = await platform.client(), await platform.client()
        function = await other.app()
        sync = await client.create(function, [1], kind="map", closed=False)
        spawned = await client.create(function, [1], kind="spawn")
        client.peer.close()
        await until(lambda: platform.core.world.calls[sync[3:19]].cancelled)
        assert (await other.request("call.get", call_id=spawned))["status"] == "pending"

    play(scene, caller_gone=0.2)


def test_requests_larger_than_the_machine_are_refused_with_numbers(play):
    async def scene(platform):
        await platform.worker(keep, memory=1 << 30)
        client = await platform.client()
        with pytest.raises(exception.InvalidError, match=r"2,048 MiB .* 1,024 MiB"):
            await client.app(memory_request=2048)
        with pytest.raises(exception.InvalidError, match="cpu=64"):
            await client.app(cpu_request=64.0)

    play(scene)


BASE = {"op": "base", "base": "debian_slim", "python": "3.11"}
STEP = {"op": "run", "commands": ["true"]}


async def build(client, *recipes, app_id=None):
    events = []
    async for item in client.peer.stream("image.build", {"recipes": list(recipes), "app_id": app_id}):
        events.append(item.body)
    return events


def test_a_chain_is_built_once_and_joined_by_all_who_wait(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        one, two = await asyncio.gather(build(client, BASE, STEP), build(client, BASE, STEP))
        assert one[-1] == two[-1] and one[-1]["python"] == "3.11"
        assert [e["kind"] for e in one] == ["step", "log", "step", "log", "done"]
        assert len(worker.plans) == 2 and worker.plans[1]["parent"] == worker.plans[0]["image_id"]
        assert [e["kind"] for e in await build(client, BASE, STEP)] == ["done"]
        forced = await build(client, BASE, {**STEP, "force": True}, app_id="ap")
        assert forced[-1]["image_id"] != one[-1]["image_id"]
        again = await build(client, BASE, STEP)
        assert again[-1]["image_id"] == forced[-1]["image_id"]

    play(scene)


def test_a_failing_step_is_named_and_nothing_is_cached(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        worker.build_error = "exit status 1"
        with pytest.raises(exception.ImageBuildError, match=r"(?s)step 1 of 1.*debian_slim.*exit status 1.*making it"):
            await build(client, BASE)
        worker.build_error = None
        assert (await build(client, BASE))[-1]["kind"] == "done"

    play(scene)


def test_secrets_reach_the_container_in_order_and_the_disk_only_encrypted(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        one, two = ids.new("st"), ids.new("st")
        await client.request("secret.create", secret_id=one, name=None, env={"A": "topsecret1", "B": "x"}, app_id=None)
        await client.request("secret.create", secret_id=two, name=None, env={"B": "y"}, app_id=None)
        function = await client.app(secrets=[one, two])
        await client.create(function, [1])
        await until(lambda: worker.plans)
        assert worker.plans[0]["env"] == {"A": "topsecret1", "B": "y"}
        for path in (platform.home / "db").iterdir():
            assert b"topsecret1" not in path.read_bytes()

    play(scene)


def test_strangers_are_refused_at_each_door(play):
    async def scene(platform):
        import fakes

        from windlass import paths

        with pytest.raises(exception.AuthError):
            await fakes.connect(paths.containers_socket(platform.home), role="runner", container_id="ta-x", token="no")
        with pytest.raises(exception.PermissionDeniedError):
            await fakes.connect(paths.containers_socket(platform.home), role="user")
        with pytest.raises(exception.VersionError):
            await fakes.connect(paths.server_socket(platform.home), role="user", protocol=99)

    play(scene)


def test_failures_that_no_caller_sees_are_in_the_log(play):
    async def scene(platform):
        def work(args, kwargs, lease):
            raise ValueError("no")

        await platform.worker(work)
        client = await platform.client()
        policy = {"max_retries": 1, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 60.0}
        function = await client.app(retries=policy)
        await client.run(function, [1])
        seen = [entry["text"] for entry in await read_logs(client, app_id=client.app_id)]
        assert [text for text in seen if "retry 1 of 1 in 1 s" in text] == seen, "the caller has the last one itself"
        await client.run(function, [1], kind="spawn")
        last = (await read_logs(client, app_id=client.app_id))[-1]
        assert last["source"] == "system" and last["input_id"]
        assert last["text"] == "f failed:\ntb\n", "the whole traceback"

    play(scene)
