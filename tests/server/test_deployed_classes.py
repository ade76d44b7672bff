"""Classes in versions of apps: the pools of a class follow it, as far as their values still fit."""
from __future__ import annotations

import asyncio

import pytest
from fakes import SPEC
from test_containers_life import until
from test_deployments import KEPT, all_ready, told

from windlass import exception
from windlass.kit import ids
from windlass.wire import parameters

CLASS, OTHER = ids.new("fu"), ids.new("fu")
TAG = "M.*"
SIZE = [{"name": "size", "type": "str"}]
COLOUR = [{"name": "colour", "type": "str"}]


def code(name: str, schema=SIZE, **more):
    return {"qualname": name, "class_name": "M", "methods": {"get": {}}, "parameters": schema, **more}


def size(text: str) -> str:
    return parameters.encode(SIZE, {"size": text})


async def bind(client, function, *values: str, **overrides) -> str:
    text = size(*values) if values else ""
    info = await client.request("function.bind", function_id=function, parameters=text, overrides=overrides)
    return info["function_id"]


async def ask(client, function) -> object:
    (output,) = await client.run(function, [1], method="get")
    assert output["status"] == "success", output
    return output["data"]


async def reaches(client, function, value: str) -> None:
    while await ask(client, function) != value:
        await asyncio.sleep(0.01)


def test_all_pools_of_a_class_get_the_new_code_and_keep_their_ids(play):
    async def scene(platform):
        worker = await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, **{TAG: (CLASS, code("one"))})
        pools = [await bind(client, CLASS, "a"), await bind(client, CLASS, "b")]
        pools.append(await bind(client, CLASS, "a", timeout=9))
        assert [await ask(client, pool) for pool in pools] == ["one"] * 3
        assert (await client.deploy(app, **{TAG: (CLASS, code("two"))}))["version"] == 2
        for pool in pools:
            await reaches(client, pool, "two")
        assert [await bind(client, CLASS, "a"), await bind(client, CLASS, "b")] == pools[:2]
        assert platform.core.world.functions[pools[2]].spec["timeout"] == 9
        await client.request("app.return", app_id=app, deploy_id="x", version=1)
        for pool in pools:
            await reaches(client, pool, "one")
        assert {plan["function_id"] for plan in worker.plans} == set(pools)

    play(scene)


def test_after_a_restart_old_containers_of_a_pool_are_still_told_from_new_ones(play):
    async def scene(platform):
        worker = await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, **{TAG: (CLASS, code("one", memory_request=100))})
        pool = await bind(client, CLASS, "a")
        assert await ask(client, pool) == "one"
        worker.run = False
        await client.deploy(app, **{TAG: (CLASS, code("two", memory_request=200))})
        await platform.stop()
        await platform.start()
        function = platform.core.world.functions[pool]
        old = [c for c in function.containers.values() if c.outdated]
        assert [c.spec["memory_request"] for c in old] == [100] and function.rolling
        assert function.spec["memory_request"] == 200 and function.generation == 1

    play(scene)


def test_pools_whose_values_do_not_fit_any_more_end_and_a_rollback_brings_them_back(play):
    async def scene(platform):
        worker = await platform.worker(told, run=False)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, **{TAG: (CLASS, code("one"))})
        pool = await bind(client, CLASS, "a")
        waiting = await client.create(pool, [1, 2], method="get")
        await client.deploy(app, **{TAG: (CLASS, code("two", COLOUR))})
        outputs = await client.outputs(waiting)
        assert {o["status"] for o in outputs} == {"terminated"} and "other parameters" in str(outputs[0])
        with pytest.raises(exception.NotFoundError, match="other parameters"):
            await client.create(pool, [1], method="get")
        with pytest.raises(exception.InvalidError, match="colour: str"):
            await bind(client, CLASS, "a")
        text = parameters.encode(COLOUR, {"colour": "red"})
        new = (await client.request("function.bind", function_id=CLASS, parameters=text))["function_id"]
        worker.run = True
        assert await ask(client, new) == "two"
        await platform.stop()
        worker.peer.close()
        await platform.start()
        assert platform.core.world.functions[pool].removed
        await platform.worker(told)
        client = await platform.client()
        await client.request("app.return", app_id=app, deploy_id="x")
        assert await bind(client, CLASS, "a") == pool and await ask(client, pool) == "one"
        assert platform.core.world.functions[new].removed

    play(scene)


def test_a_class_that_is_removed_takes_its_pools_along_and_comes_back_with_them(play):
    async def scene(platform):
        await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(OTHER, {"qualname": "f"}), **{TAG: (CLASS, code("one"))})
        pool = await bind(client, CLASS, "a")
        assert await ask(client, pool) == "one"
        await client.deploy(app, f=(OTHER, {"qualname": "f"}))
        await until(lambda: not platform.core.world.functions[pool].containers)
        with pytest.raises(exception.NotFoundError, match="removed"):
            await ask(client, pool)
        with pytest.raises(exception.NotFoundError, match="removed"):
            await bind(client, CLASS, "b")
        await client.deploy(app, f=(OTHER, {"qualname": "f"}), **{TAG: (CLASS, code("two"))})
        assert await bind(client, CLASS, "a") == pool and await ask(client, pool) == "two"

    play(scene)


def test_the_minimum_holds_for_sets_that_were_used_and_never_for_the_bare_class_or_options(play):
    async def scene(platform):
        await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(OTHER, {"qualname": "f1"}), **{TAG: (CLASS, code("one", autoscaler=KEPT))})
        used, option = await bind(client, CLASS, "a"), await bind(client, CLASS, "a", timeout=9)
        await client.request("function.autoscaler", function_id=used, max_containers=5)
        await client.deploy(app, f=(OTHER, {"qualname": "f2"}), **{TAG: (CLASS, code("one", autoscaler=KEPT))})

        def bounds(name: str) -> list[int]:
            return [platform.core.world.functions[one].autoscaler[name] for one in (CLASS, used, option)]

        for _ in range(2):
            assert bounds("min_containers") == [0, 1, 0] and bounds("max_containers") == [0, 0, 0]
            await client.deploy(app, f=(OTHER, {"qualname": "f2"}), **{TAG: (CLASS, code("two", autoscaler=KEPT))})
        await until(lambda: all_ready(platform, 1))
        assert {c.function.id for c in platform.core.world.containers.values()} == {used}
        await platform.stop()
        await platform.start()
        assert bounds("min_containers") == [0, 1, 0] and bounds("max_containers") == [0, 0, 0]

    play(scene)


def test_recreate_and_rollover_replace_the_containers_of_all_pools(play):
    async def scene(platform):
        worker = await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, **{TAG: (CLASS, code("one"))})
        pools = [await bind(client, CLASS, name) for name in "ab"]
        for strategy in ("recreate", "rolling"):
            assert [await ask(client, pool) for pool in pools] == ["one", "one"]
            before = set(worker.runners)
            reply = await client.request("app.return", app_id=app, deploy_id=strategy, rollover=True, strategy=strategy)
            assert len(reply["leaving"]) == (len(before) if strategy == "recreate" else 0)
            await until(lambda before=before: not before & set(worker.runners))

    play(scene)


def test_a_method_that_becomes_a_generator_makes_another_class(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, **{TAG: (CLASS, code("one"))})
        await client.deploy(app, **{TAG: (CLASS, code("two", methods={"get": {}, "put": {}}))})
        with pytest.raises(exception.ConflictError):
            await client.deploy(app, **{TAG: (CLASS, code("two", methods={"get": {"is_generator": True}}))})
        with pytest.raises(exception.ConflictError):
            await client.deploy(app, **{TAG: (CLASS, {"qualname": "f"})})
        await client.deploy(app, **{TAG: (OTHER, code("two", methods={"get": {"is_generator": True}}))})

    play(scene)


def test_a_pinned_class_has_pools_of_its_own_that_stay(play):
    async def scene(platform):
        worker = await platform.worker(told)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(OTHER, {"qualname": "f1"}), **{TAG: (CLASS, code("one"))})
        await client.deploy(app, f=(OTHER, {"qualname": "f2"}), **{TAG: (CLASS, code("two"))})
        pinned = await client.request("function.get", app_name="shop", tag=TAG, version=1)
        assert pinned["class_name"] == "M" and pinned["parameters"] == SIZE
        pool = await bind(client, pinned["function_id"], "a")
        assert pool != await bind(client, CLASS, "a") and await ask(client, pool) == "one"
        await client.deploy(app, f=(OTHER, {"qualname": "f3"}), **{TAG: (CLASS, code("three"))}, strategy="recreate")
        assert await ask(client, pool) == "one"
        (plan,) = [p for p in worker.plans if p["function_id"] == pool]
        assert plan["runner"]["app"]["functions"]["f"]["function_id"] != OTHER
        await platform.stop()
        await platform.start()
        assert platform.core.world.functions[pool].pin == 1
        client = await platform.client()
        assert await client.request("function.get", app_name="shop", tag=TAG, version=1) == pinned

    play(scene)


def test_a_pool_cannot_be_deployed_as_a_function(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, **{TAG: (CLASS, code("one"))})
        pool = await bind(client, CLASS, "a")
        with pytest.raises(exception.InvalidError):
            await client.deploy(app, f=(pool, SPEC), **{TAG: (CLASS, code("one"))})

    play(scene)
