"""Classes and variants in the server: one pool for each set of parameters and options, found again by whoever asks."""
from __future__ import annotations

import asyncio

import fakes
import pytest
from standing import Standing

from windlass import exception
from windlass.kit import ids
from windlass.server.decide import variants
from windlass.wire import parameters

SCHEMA = [{"name": "size", "type": "str"}, {"name": "n", "type": "int"}]
CLASS = {
    "tag": "M.*", "class_name": "M", "methods": {"get": {}, "gen": {"is_generator": True}}, "parameters": SCHEMA,
}  # fmt: skip
PLAIN = {"tag": "P.*", "class_name": "P", "methods": {"get": {}}, "parameters": []}


def size(text: str, n: int = 1) -> str:
    return parameters.encode(SCHEMA, {"size": text, "n": n})


def echo(args, kwargs, lease):
    return lease.get("method", ""), args[0]


async def until(condition, seconds: float = 5.0):
    deadline = asyncio.get_running_loop().time() + seconds
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    return value


def test_equal_parameters_share_a_pool_and_different_ones_do_not(play):
    async def scene(platform):
        worker, client = await platform.worker(echo), await platform.client()
        base = await client.app(**CLASS)
        other = await platform.client()
        one = await client.request("function.bind", function_id=base, parameters=size("a"))
        same = await other.request("function.bind", function_id=base, parameters=size("a"))
        two = await client.request("function.bind", function_id=base, parameters=size("b"))
        assert one == same and one["variant_of"] == base and one["class_name"] == "M"
        assert len({base, one["function_id"], two["function_id"]}) == 3
        for info in (one, two):
            outputs = await client.run(info["function_id"], [1, 2], kind="map", method="get")
            assert sorted(o["data"] for o in outputs) == [("get", 1), ("get", 2)]
        plans = {plan["function_id"]: plan["runner"]["parameters"] for plan in worker.plans}
        assert plans == {one["function_id"]: size("a"), two["function_id"]: size("b")}

    play(scene)


def test_nothing_special_is_the_base_itself(play):
    async def scene(platform):
        client = await platform.client()
        base = await client.app(**PLAIN)
        info = await client.request("function.bind", function_id=base)
        assert info["function_id"] == base and "variant_of" not in info
        assert info["methods"] == {"get": {}} and info["parameters"] == []

    play(scene)


def test_options_make_variants_whose_order_of_asking_does_not_matter(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(autoscaler={**fakes.SPEC["autoscaler"], "min_containers": 1, "max_containers": 4})

        async def bind(base, **overrides):
            info = await client.request("function.bind", function_id=base, overrides=overrides)
            return info["function_id"]

        both = await bind(function, timeout=5.0, max_containers=2)
        assert await bind(await bind(function, max_containers=2), timeout=5.0) == both
        assert await bind(await bind(function, timeout=9.0, max_containers=2), timeout=5.0) == both
        assert await bind(function, timeout=5.0) != both
        known = platform.core.world.functions[both]
        assert known.spec["timeout"] == 5.0 and known.autoscaler["max_containers"] == 2
        assert known.autoscaler["min_containers"] == 0, "never inherited by option sets"
        assert known.autoscaler["scaledown_window"] == 60.0

    play(scene)


def test_secrets_tell_variants_apart_by_what_they_hold(play):
    async def scene(platform):
        worker, client = await platform.worker(echo), await platform.client()
        function = await client.app()

        async def bind(value: str) -> str:
            secret = ids.new("st")
            await client.request("secret.create", secret_id=secret, name=None, env={"A": value}, app_id=client.app_id)
            info = await client.request("function.bind", function_id=function, overrides={"more_secrets": [secret]})
            return info["function_id"]

        one = await bind("x")
        assert await bind("x") == one != await bind("y")
        await client.run(one, [1])
        assert worker.plans[0]["env"] == {"A": "x"}
        with pytest.raises(exception.NotFoundError):
            await client.request("function.bind", function_id=function, overrides={"secrets": [ids.new("st")]})

    play(scene)


def test_minimum_counts_for_parameter_sets_that_are_used_and_not_for_the_bare_class(play):
    async def scene(platform):
        worker, client = await platform.worker(echo), await platform.client()
        base = await client.app(**CLASS, autoscaler={**fakes.SPEC["autoscaler"], "min_containers": 1})
        info = await client.request("function.bind", function_id=base, parameters=size("a"))
        await until(lambda: worker.plans)
        await asyncio.sleep(0.2)
        assert [plan["function_id"] for plan in worker.plans] == [info["function_id"]]

    play(scene)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("nonsense", "no values"), ("[]", "has the parameters"), ('[["size","str"]]', "no values"),
        ('[["size","str","x"],["n","int","zz"]]', "no values"), ('[["size","str","x"],["n","str","1"]]', "n: int"),
        ('[["n","int","1"],["size","str","x"]]', "size: str, n: int"), ("[" * 200_000, "limit of 16,384"),
        ('[["size","str",5],["n","int","1"]]', "no values"), ("[" * 9000, "no values"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused_and_nothing_is_left(play, text, match):
    async def scene(platform):
        client = await platform.client()
        base = await client.app(**CLASS)
        with pytest.raises(exception.InvalidError, match=match):
            await client.request("function.bind", function_id=base, parameters=text)
        assert len(platform.core.world.functions) == 1

    play(scene)


def test_impossible_options_are_refused(play):
    async def scene(platform):
        await platform.worker(echo, cpus=2.0)
        client = await platform.client()
        function = await client.app()
        for wrong in ({"cpu_request": 64.0, "cpu_limit": 64.0}, {"max_containers": -1}, {"scaledown_window": 9e9}):
            with pytest.raises(exception.InvalidError):
                await client.request("function.bind", function_id=function, overrides=wrong)
        with pytest.raises(exception.NotFoundError):
            await client.request("function.bind", function_id=ids.new("fu"))
        await client.request("app.stop", app_id=client.app_id, reason="done")
        with pytest.raises(exception.ConflictError):
            await client.request("function.bind", function_id=function)

    play(scene)


def test_calls_name_a_method_that_is_there(play):
    async def scene(platform):
        await platform.worker(echo)
        client = await platform.client()
        base = await client.app(**PLAIN)
        with pytest.raises(exception.InvalidError, match="'P' is a class"):
            await client.run(base, [1])
        with pytest.raises(exception.NotFoundError, match="no method 'nope'"):
            await client.run(base, [1], method="nope")
        plain = await client.app()
        with pytest.raises(exception.InvalidError, match="is no class"):
            await client.run(plain, [1], method="get")
        call = await client.create(base, [1], method="get")
        graph = await client.request("call.graph", call_id=call)
        assert [node["function_name"] for node in graph["nodes"]] == ["P.get"]

    play(scene)


def test_generators_of_a_class_are_not_tried_again(play):
    tries = []

    def fail(args, kwargs, lease):
        tries.append(lease["method"])
        raise ValueError("no")

    async def scene(platform):
        await platform.worker(fail)
        client = await platform.client()
        policy = {"max_retries": 1, "backoff_coefficient": 1.0, "initial_delay": 0.0, "max_delay": 1.0}
        base = await client.app(**{**PLAIN, "methods": {"get": {}, "gen": {"is_generator": True}}}, retries=policy)
        await client.run(base, [1], kind="gen", method="gen")
        await client.run(base, [1], method="get")
        assert tries == ["gen", "get", "get"]

    play(scene)


def test_too_many_new_variants_are_refused_until_time_has_passed(play):
    async def scene(platform):
        client = await platform.client()
        base = await client.app(**CLASS)
        made = [
            (await client.request("function.bind", function_id=base, parameters=size("a", n)))["function_id"]
            for n in range(3)
        ]
        with pytest.raises(exception.ResourceExhaustedError, match="3 at once, then 1 a second"):
            await client.request("function.bind", function_id=base, parameters=size("a", 3))
        again = await client.request("function.bind", function_id=base, parameters=size("a", 2))
        assert again["function_id"] == made[2], "those that exist cost nothing"
        await asyncio.sleep(1.1)
        await client.request("function.bind", function_id=base, parameters=size("a", 3))

    play(scene, variant_burst=3, variant_rate=1.0)


def test_the_budget_fills_up_to_its_burst_and_no_further():
    spend = lambda budget, now: variants.spend(budget, now, rate=1.0, burst=2, tag="f")  # noqa: E731
    budget = spend(spend(variants.Budget(2.0, 0.0), 0.0), 0.0)
    with pytest.raises(exception.ResourceExhaustedError):
        spend(budget, 0.9)
    budget = spend(spend(budget, 100.0), 100.0)
    with pytest.raises(exception.ResourceExhaustedError):
        spend(budget, 100.5)


def test_a_killed_server_knows_variants_and_methods_again(home):
    async def scene():
        server = await Standing(home).start()
        try:
            client = await fakes.Client(home).start()
            base = await client.app(state="detached", **CLASS)
            info = await client.request("function.bind", function_id=base, parameters=size("a"))
            option = await client.request("function.bind", function_id=base, overrides={"timeout": 7.0},
                                          parameters=size("a"))  # fmt: skip
            call = await client.create(info["function_id"], [5], method="get")
            await server.restart()
            client = await fakes.Client(home).start()
            assert await client.request("function.bind", function_id=base, parameters=size("a")) == info
            found = await client.request("function.bind", function_id=info["function_id"], overrides={"timeout": 7.0})
            assert found == option
            worker = await fakes.Worker(home, echo).start()
            assert [o["data"] for o in await client.outputs(call)] == [("get", 5)]
            assert worker.plans[0]["runner"]["parameters"] == size("a")
        finally:
            server.stop()

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_an_app_that_stops_takes_its_variants_with_it(play):
    async def scene(platform):
        worker, client = await platform.worker(echo), await platform.client()
        base = await client.app(**CLASS)
        info = await client.request("function.bind", function_id=base, parameters=size("a"))
        await client.run(info["function_id"], [1], method="get")
        await client.request("app.stop", app_id=client.app_id, reason="done")
        await until(lambda: not worker.runners)
        await until(lambda: not platform.core.world.functions and not platform.core.world.functions_by_n)

    play(scene)


def test_a_lookup_of_a_deployed_class_leads_to_the_same_pools(play):
    async def scene(platform):
        client = await platform.client()
        app, function = ids.new("ap"), ids.new("fu")
        await client.deploy(app, "dep", **{"M.*": (function, CLASS)})
        known = await client.request("function.bind", function_id=function, parameters=size("a"))
        found = await (await platform.client()).request("function.get", app_name="dep", tag="M.*")
        assert found["parameters"] == SCHEMA and found["methods"]["gen"] == {"is_generator": True}
        again = await client.request("function.bind", function_id=found["function_id"], parameters=size("a"))
        assert again == known
        assert (await client.request("function.get", function_id=known["function_id"])) == known
        with pytest.raises(exception.NotFoundError, match="no class 'N' in app 'dep'") as told:
            await client.request("function.get", app_name="dep", tag="N.*")
        assert told.value.hint == "It has: M."
        with pytest.raises(exception.NotFoundError, match="no function 'M'") as told:
            await client.request("function.get", app_name="dep", tag="M")
        assert "is a class" in told.value.hint

    play(scene)
