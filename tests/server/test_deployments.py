"""Versions of deployed apps: whole or not at all, ids that stay, containers that give way."""
from __future__ import annotations

import asyncio

import pytest
from fakes import SPEC
from test_containers_life import until

from windlass import exception
from windlass.kit import ids
from windlass.wire.messages import functions

ONE, OTHER, THIRD = ids.new("fu"), ids.new("fu"), ids.new("fu")
KEPT: functions.AutoscalerSpec = {**SPEC["autoscaler"], "min_containers": 1}
SINGLE: functions.AutoscalerSpec = {**SPEC["autoscaler"], "max_containers": 1}


def told(args, kwargs, lease):
    """Which code it is."""
    return lease["spec"]["qualname"]


def code(name: str, **more):
    return {"qualname": name, **more}


def all_ready(platform, number: int) -> bool:
    containers = platform.core.world.containers.values()
    return len(containers) == number and not any(c.starting for c in containers)


async def ask(client, function) -> object:
    (output,) = await client.run(function, [1])
    assert output["status"] == "success", output
    return output["data"]


def test_a_function_keeps_its_id_and_callers_get_the_new_code(play):
    async def scene(platform):
        await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        first = await client.deploy(app, f=(ONE, code("a")))
        assert (first["version"], first["skipped"], first["functions"]["f"]["function_id"]) == (1, False, ONE)
        handle = await client.request("function.get", app_name="shop", tag="f")
        assert handle["function_id"] == ONE and await ask(client, ONE) == "a"
        second = await client.deploy(app, f=(ONE, code("b")))
        assert second["version"] == 2
        while await ask(client, ONE) != "b":
            pass
        info = await client.request("app.get", app="shop")
        assert (info["state"], info["version"], info["functions"]) == ("deployed", 2, {"f": ONE})

    play(scene)


def test_the_same_again_is_skipped_also_with_secrets_that_were_made_anew(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")

        async def deploy(value):
            secret = ids.new("st")
            await client.request("secret.create", secret_id=secret, name=None, env={"K": value}, app_id=app)
            return await client.deploy(app, f=(ONE, code("a", secrets=[secret])))

        assert [(r["version"], r["skipped"]) for r in [await deploy("1"), await deploy("1")]] == [(1, False), (1, True)]
        assert (await deploy("2"))["version"] == 2
        assert (await deploy("1"))["version"] == 3
        assert len((await client.request("app.history", app_id=app))["versions"]) == 3

    play(scene)


def test_a_repeated_request_has_the_answer_of_the_first(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        part = {"function_id": ONE, "spec": {**SPEC, "tag": "f"}}
        body = {"app_id": app, "deploy_id": "de-1", "name": "shop", "functions": {"f": part}}
        for _ in range(2):
            reply = await client.request("app.deploy", **body)
            assert (reply["version"], reply["skipped"]) == (1, False)
        back = {"app_id": app, "deploy_id": "de-2", "rollover": True}
        assert [(await client.request("app.return", **back))["version"] for _ in range(2)] == [2, 2]

    play(scene)


def test_only_containers_of_changed_functions_are_replaced_and_none_before_its_successor_is_ready(play):
    async def scene(platform):
        gate = asyncio.Event()
        gate.set()
        worker = await platform.worker(told)
        make = worker._make

        async def gated(identity):
            await gate.wait()
            await make(identity)

        worker._make = gated
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a", autoscaler=KEPT)), g=(OTHER, code("g", autoscaler=KEPT)))
        await until(lambda: all_ready(platform, 2))
        old = {r.plan["function_id"]: i for i, r in worker.runners.items()}
        gate.clear()
        await client.deploy(app, f=(ONE, code("b", autoscaler=KEPT)), g=(OTHER, code("g", autoscaler=KEPT)))
        await until(lambda: len(worker.started) == 3)
        for _ in range(5):
            assert await ask(client, ONE) == "a"
            await asyncio.sleep(0.05)
        assert set(old.values()) == set(worker.runners)
        gate.set()
        await until(lambda: old[ONE] not in worker.runners)
        assert await ask(client, ONE) == "b"
        assert old[OTHER] in worker.runners and len(worker.started) == 3

    play(scene)


def test_what_an_old_container_runs_is_finished_there(play):
    async def scene(platform):
        release = asyncio.Event()

        async def work(args, kwargs, lease):
            if args[0] == "long":
                await release.wait()
            return lease["spec"]["qualname"]

        worker = await platform.worker(work)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")))
        running = asyncio.ensure_future(client.run(ONE, ["long"]))
        await until(lambda: any(r.seen for r in worker.runners.values()))
        (old,) = worker.runners.values()
        await client.deploy(app, f=(ONE, code("b")))
        await until(lambda: old.stop_body is not None)
        assert old.stop_body["graceful"] and await ask(client, ONE) == "b"
        release.set()
        (output,) = await running
        assert output["data"] == "a"

    async def patient(platform):
        # The fake container leaves when it is told to stop; this one stays until its input has ended.
        import fakes

        async def later(self, identity, runner):
            await runner.stopped.wait()
            while runner.held:
                await asyncio.sleep(0.01)
            await self.exit(identity, {"reason": "exited", "exit_code": 0})

        before, fakes.Worker._exit_when_stopped = fakes.Worker._exit_when_stopped, later
        try:
            await scene(platform)
        finally:
            fakes.Worker._exit_when_stopped = before

    play(patient)


def test_recreate_stops_all_containers_and_their_inputs_run_again_on_the_new_version(play):
    async def scene(platform):
        def work(args, kwargs, lease):
            return NotImplemented if lease["spec"]["qualname"] == "a" else lease["spec"]["qualname"]

        worker = await platform.worker(work)
        client, app = await platform.client(), ids.new("ap")
        parts = {"g": (OTHER, code("g", autoscaler=KEPT))}
        await client.deploy(app, f=(ONE, code("a", autoscaler=SINGLE)), **parts)
        running = asyncio.ensure_future(client.run(ONE, [1]))
        await until(lambda: any(r.seen for r in worker.runners.values()) and all_ready(platform, 2))
        before = set(worker.runners)
        reply = await client.deploy(app, strategy="recreate", f=(ONE, code("b", autoscaler=SINGLE)), **parts)
        assert set(reply["leaving"]) == before
        (output,) = await running
        assert output["data"] == "b" and output["retries"] == 0
        await until(lambda: not before & set(worker.runners))

    play(scene)


def test_at_its_maximum_a_busy_old_container_stays_and_an_idle_one_goes(play):
    async def scene(platform):
        release = asyncio.Event()

        async def work(args, kwargs, lease):
            await release.wait()
            return lease["spec"]["qualname"]

        worker = await platform.worker(work)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a", autoscaler=SINGLE)))
        running = asyncio.ensure_future(client.run(ONE, [1]))
        await until(lambda: any(r.seen for r in worker.runners.values()))
        await client.deploy(app, f=(ONE, code("b", autoscaler=SINGLE)))
        await asyncio.sleep(0.3)
        assert len(worker.started) == 1
        release.set()
        assert (await running)[0]["data"] == "a"
        while await ask(client, ONE) != "b":
            await asyncio.sleep(0.01)

    play(scene)


def test_on_a_machine_that_is_full_of_the_old_version_one_container_after_the_other_makes_room(play):
    async def scene(platform):
        async def work(args, kwargs, lease):
            await asyncio.sleep(0.02)
            return lease["spec"]["qualname"]

        await platform.worker(work, memory=500 << 20)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a", memory_request=200)))
        over, seen = asyncio.Event(), []

        async def call() -> None:
            while not over.is_set():
                seen.append(await ask(client, ONE))

        callers = [asyncio.ensure_future(call()) for _ in range(6)]
        await until(lambda: all_ready(platform, 2) and len(seen) > 10)
        await client.deploy(app, f=(ONE, code("b", memory_request=200)))
        await until(lambda: seen[-10:] == ["b"] * 10)
        over.set()
        await asyncio.gather(*callers)

    play(scene)


def test_a_new_version_that_cannot_start_leaves_the_old_one_serving_and_is_tried_ever_less_often(play):
    async def scene(platform):
        worker = await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")))
        assert await ask(client, ONE) == "a"
        worker.fail_start = {"reason": "exited", "exit_code": 1}
        await client.deploy(app, f=(ONE, code("broken")))
        function = platform.core.world.functions[ONE]
        await until(lambda: function.failures >= 2 and function.not_before > platform.core.clock.now())
        assert await ask(client, ONE) == "a" and len(worker.started) >= 3
        worker.fail_start = None
        await client.deploy(app, f=(ONE, code("c")))
        while await ask(client, ONE) != "c":
            await asyncio.sleep(0.01)

    play(scene)


def test_inputs_of_a_deployed_app_wait_while_its_containers_crash_at_their_start(play):
    async def scene(platform):
        worker = await platform.worker(told)
        worker.fail_start = {"reason": "exited", "exit_code": 1}
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")))
        call = await client.create(ONE, [1])
        await until(lambda: len(worker.started) >= 2)
        assert await client.outputs(call, wait=False) == []
        await client.deploy(app, f=(ONE, code("b")))
        worker.fail_start = None  # not before: a container of the old code might come up in between
        assert [o["data"] for o in await client.outputs(call)] == ["b"]

    play(scene, start_failures=1)


def test_a_removed_function_is_gone_its_waiting_inputs_end_and_a_rollback_brings_it_back(play):
    async def scene(platform):
        worker = await platform.worker(told, run=False)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")), g=(OTHER, code("g")))
        waiting = await client.create(OTHER, [1, 2])
        await client.deploy(app, f=(ONE, code("a")))
        assert {o["status"] for o in await client.outputs(waiting)} == {"terminated"}
        with pytest.raises(exception.NotFoundError, match="'g'"):
            await client.request("function.get", app_name="shop", tag="g")
        with pytest.raises(exception.NotFoundError, match="removed"):
            await client.run(OTHER, [1])
        worker.run = True
        back = await client.request("app.return", app_id=app, deploy_id="x")
        assert back["version"] == 3 and await ask(client, OTHER) == "g"
        (newest, *_) = (await client.request("app.history", app_id=app))["versions"]
        assert newest["facts"]["rollback"] == 1

    play(scene)


def test_what_waited_for_a_removed_function_ends_also_after_a_restart(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")), g=(OTHER, code("g")))
        call = await client.create(OTHER, list(range(4000)))
        await client.deploy(app, f=(ONE, code("a")))
        assert platform.core.world.emptying, "it takes many turns"
        await platform.stop()
        await platform.start()
        client = await platform.client()
        outputs = await client.outputs(call)
        assert len(outputs) == 4000 and {o["status"] for o in outputs} == {"terminated"}

    play(scene)


def test_a_tag_that_becomes_another_kind_of_function_is_another_function(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")))
        with pytest.raises(exception.ConflictError):
            await client.deploy(app, f=(ONE, code("a", is_generator=True)))
        with pytest.raises(exception.ConflictError):
            await client.deploy(app, f=(OTHER, code("a")))
        reply = await client.deploy(app, f=(OTHER, code("a", is_generator=True)))
        assert reply["functions"]["f"]["function_id"] == OTHER
        with pytest.raises(exception.NotFoundError):
            await client.run(ONE, [1])

    play(scene)


def test_what_is_refused_changes_nothing(play):
    async def scene(platform):
        client, app, other = await platform.client(), ids.new("ap"), ids.new("ap")
        theirs = await client.app()
        for refused in (
            client.deploy(app, f=(theirs, code("a"))),
            client.deploy(app, name="no/name", f=(ONE, code("a"))),
            client.deploy(app, name=None, f=(ONE, code("a"))),
            client.deploy(app, strategy="sideways", f=(ONE, code("a"))),
            client.deploy("ap-1", f=(ONE, code("a"))),
            client.deploy(app, f=("fu-1", code("a"))),
            client.deploy(app, f=(ONE, code("a", autoscaler={**KEPT, "min_containers": -1}))),
            client.deploy(app, f=(ONE, code("a", secrets=[ids.new("st")]))),
        ):
            with pytest.raises((exception.InvalidError, exception.NotFoundError)):
                await refused
        assert [a["app_id"] for a in (await client.request("app.list"))["apps"]] == [client.app_id]
        await client.deploy(app, f=(ONE, code("a")))
        with pytest.raises(exception.ConflictError, match="somebody else"):
            await client.deploy(other, f=(OTHER, code("a")))
        for version in (0, 1, 7, -1):
            with pytest.raises((exception.NotFoundError, exception.InvalidError)):
                await client.request("app.return", app_id=app, deploy_id="x", version=version)
        with pytest.raises(exception.NotFoundError):
            await client.request("app.return", app_id=app, deploy_id="x")
        with pytest.raises(exception.InvalidError, match="not deployed"):
            await client.request("app.return", app_id=client.app_id, deploy_id="x")
        info = await client.request("app.get", app="shop")
        assert info["version"] == 1 and info["app_id"] == app

    play(scene)


def test_everything_is_there_after_a_restart_of_the_server(play):
    async def scene(platform):
        worker = await platform.worker(told, run=False)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a", autoscaler=KEPT)), g=(OTHER, code("g")))
        await client.deploy(app, f=(ONE, code("b", autoscaler=KEPT)))
        await until(lambda: platform.core.world.functions[ONE].containers)
        await platform.stop()
        worker.peer.close()
        await platform.start()
        client = await platform.client()
        info = await client.request("app.get", app="shop")
        assert (info["state"], info["version"], info["functions"]) == ("deployed", 2, {"f": ONE})
        assert platform.core.world.functions[OTHER].removed
        await platform.worker(told)
        assert await ask(client, ONE) == "b"
        back = await client.request("app.return", app_id=app, deploy_id="x", version=1)
        assert back["version"] == 3 and set(back["functions"]) == {"f", "g"}
        while await ask(client, ONE) != "a":
            await asyncio.sleep(0.01)

    play(scene)


def test_a_stopped_app_leaves_its_name_to_another(play):
    async def scene(platform):
        client, app, other = await platform.client(), ids.new("ap"), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")))
        await client.request("app.stop", app_id=app, reason="stopped")
        with pytest.raises(exception.ConflictError):
            await client.deploy(app, f=(ONE, code("a")))
        assert (await client.deploy(other, f=(OTHER, code("a"))))["version"] == 1
        assert (await client.request("app.get", app="shop"))["app_id"] == other

    play(scene)


def test_an_autoscaler_that_was_set_by_hand_is_reset_by_the_next_version_only(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")), g=(OTHER, code("g")))
        for one in (ONE, OTHER):
            await client.request("function.autoscaler", function_id=one, max_containers=5)
        await client.deploy(app, f=(ONE, code("a")), g=(OTHER, code("g")))
        known = platform.core.world.functions
        assert [known[one].autoscaler["max_containers"] for one in (ONE, OTHER)] == [5, 5]
        await client.deploy(app, f=(ONE, code("b")), g=(OTHER, code("g")))
        assert [known[one].autoscaler["max_containers"] for one in (ONE, OTHER)] == [0, 0]
        await platform.stop()
        await platform.start()
        assert platform.core.world.functions[OTHER].autoscaler["max_containers"] == 0

    play(scene)


def test_a_pinned_version_has_containers_of_its_own_and_calls_its_own_kind(play):
    async def scene(platform):
        worker = await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a", autoscaler=KEPT)), g=(OTHER, code("g1")))
        await client.deploy(app, f=(ONE, code("b", autoscaler=KEPT)), g=(OTHER, code("g2")))
        pinned = await client.request("function.get", app_name="shop", tag="f", version=1)
        again = await client.request("function.get", app_name="shop", tag="f", version=1)
        assert pinned == again and pinned["function_id"] != ONE
        assert await ask(client, pinned["function_id"]) == "a"
        while await ask(client, ONE) != "b":
            pass
        (plan,) = [p for p in worker.plans if p["function_id"] == pinned["function_id"]]
        inner = plan["runner"]["app"]["functions"]["g"]["function_id"]
        assert inner != OTHER and await ask(client, inner) == "g1"
        assert platform.core.world.functions[pinned["function_id"]].autoscaler["min_containers"] == 0
        for wrong in ({"tag": "f", "version": 9}, {"tag": "h", "version": 1}):
            with pytest.raises(exception.NotFoundError):
                await client.request("function.get", app_name="shop", **wrong)

    play(scene)


def test_an_empty_app_is_made_once_and_deployed_later(play):
    async def scene(platform):
        client = await platform.client()
        made = [
            await client.request("app.create", app_id=ids.new("ap"), name="shop", state="deployed") for _ in range(2)
        ]
        assert made[0]["app_id"] == made[1]["app_id"] and made[0]["version"] == 0
        reply = await client.deploy(made[0]["app_id"], f=(ONE, code("a")))
        assert reply["version"] == 1
        with pytest.raises(exception.InvalidError):
            await client.request("app.create", app_id=ids.new("ap"), name=None, state="deployed")

    play(scene)


def test_tags_are_replaced_whole(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, code("a")))
        assert (await client.request("app.tags", app_id=app))["tags"] == {}
        await client.request("app.tags", app_id=app, tags={"team": "x"})
        assert (await client.request("app.tags", app_id=app, tags={"k": "v"}))["tags"] == {"k": "v"}
        assert (await client.request("app.get", app=app))["tags"] == {"k": "v"}
        with pytest.raises(exception.NotFoundError):
            await client.request("app.tags", app_id=ids.new("ap"))

    play(scene)


def test_a_new_tag_for_what_is_there_already_is_a_version_and_the_same_one_again_is_not(play):
    async def scene(platform):
        await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        part = {"function_id": ONE, "spec": {**SPEC, "tag": "f"}}

        async def deploy(tag: str) -> tuple[int, bool]:
            body = {"app_id": app, "deploy_id": ids.new("de"), "name": "shop", "functions": {"f": part}}
            reply = await client.request("app.deploy", **body, facts={"tag": tag})
            return reply["version"], reply["skipped"]

        assert [await deploy(tag) for tag in ("", "", "v1.2", "v1.2", "", "v1.3")] == [
            (1, False), (1, True), (2, False), (2, True), (2, True), (3, False),
        ]  # fmt: skip
        versions = (await client.request("app.history", app_id=app))["versions"]
        assert [one["facts"]["tag"] for one in versions] == ["v1.3", "v1.2", ""]

    play(scene)
