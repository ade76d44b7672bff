"""Looking back: what attempts left, figures of all of them, and the arguments of those that failed."""
from __future__ import annotations

import asyncio
import json
import pickle

import fakes
import pytest

from windlass import exception
from windlass.kit import ids
from windlass.server.loops import garbage
from windlass.server.state import records as record_state

LIMIT_ONE = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0, "scaledown_window": 60.0}
ONCE_MORE = {"max_retries": 1, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 1.0}


def fail(args, kwargs, lease):
    raise ValueError(args[0])


def echo(args, kwargs, lease):
    return args[0]


def keep(args, kwargs, lease):
    return NotImplemented


async def records(client, **query):
    return (await client.request("call.records", **query))["records"]


def test_a_failed_spawn_leaves_a_record_of_each_attempt_with_its_times_and_reason(play):
    async def scene(platform):
        worker = await platform.worker(fail)
        client = await platform.client()
        function = await client.app(retries=ONCE_MORE)
        call_id = await client.create(function, ["no good"])
        await client.outputs(call_id)
        first, second = await records(client, call_id=call_id)
        assert first["status"] == second["status"] == "failure"
        assert (first["final"], second["final"]) == (False, True)
        assert (first["attempt"], second["attempt"], second["index"], second["kind"]) == (1, 2, 0, "spawn")
        assert first["reason"] == second["reason"] == "ValueError('no good')"
        assert first["container_id"] == worker.started[0]
        assert first["start_seconds"] > 0 and second["start_seconds"] == 0
        assert second["run_seconds"] == pytest.approx(0.00001)
        assert second["queue_seconds"] < 0.9, "the back-off is no queueing"
        assert second["replayable"] and not first["replayable"]

    play(scene)


def test_crashes_and_containers_that_were_stopped_are_records_with_the_exit(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)
        call_id = await client.create(function, ["x"])
        oom = {"reason": "oom", "memory_peak": 300 << 20, "memory_limit": 256 << 20, "cpu_seconds": 1.5}
        for exit in (oom, {"reason": "lost"}, oom, oom):
            while not any(r.held for r in worker.runners.values()):
                await asyncio.sleep(0.01)
            await worker.exit(next(iter(worker.runners)), exit)
        await client.outputs(call_id)
        found = await records(client, call_id=call_id)
        assert [r["status"] for r in found] == ["crash", "returned", "crash", "crash"]
        assert found[0]["exit"] == oom and "out of memory" in found[-1]["reason"]
        assert [r["replayable"] for r in found] == [False, False, False, True]
        figures = await client.request("function.figures", function_id=function)
        assert (figures["inputs"], figures["failures"], figures["crashes"], figures["containers"]) == (1, 1, 3, 4)

    play(scene)


def test_a_flood_of_short_inputs_is_counted_whole_but_recorded_sparsely(play):
    async def scene(platform):
        await platform.worker(echo)
        client = await platform.client()
        function = await client.app()
        for start in range(0, 3000, 1000):  # a map has at most so many on their way
            await client.run(function, list(range(start, start + 1000)), kind="map")
        figures = await client.request("function.figures", function_id=function)
        assert (figures["inputs"], figures["failures"]) == (3000, 0)
        assert figures["run"]["p50"] == pytest.approx(0.00001, rel=0.1)
        assert 0 < figures["queue"]["p50"] <= figures["queue"]["p99"]
        assert 0 < len(await records(client, function_id=function, limit=5000)) < 600
        assert await records(client, failed=True) == []

    play(scene)


def test_figures_survive_a_restart_and_grow_on(play):
    async def scene(platform):
        await platform.worker(echo)
        client = await platform.client()
        function = await client.app(state="detached")
        await client.run(function, [1, 2, 3], kind="map")
        garbage.look(platform.core)
        await client.run(function, [4], kind="map")
        assert (await client.request("function.figures", function_id=function))["inputs"] == 4
        await platform.stop()
        platform.stack = type(platform.stack)()
        await platform.start()
        await platform.worker(echo)
        client.peer = (await type(client)(platform.home).start()).peer
        await client.run(function, [5], kind="map")
        assert (await client.request("function.figures", function_id=function))["inputs"] == 5

    play(scene)


def test_the_arguments_of_a_failed_input_are_there_for_a_replay_when_its_app_and_call_are_gone(play):
    async def scene(platform):
        await platform.worker(fail)
        client = await platform.client()
        function = await client.app()
        for value in ("small", b"x" * 50_000):
            call_id = "fc-" + ("1" if value == "small" else "2") * 22
            await client.run(function, [value], call_id=call_id)
        await client.request("app.stop", app_id=client.app_id)
        while platform.core.world.functions:
            await asyncio.sleep(0.01)
        garbage.look(platform.core)
        await asyncio.sleep(0.05)
        with pytest.raises(exception.NotFoundError):
            await client.request("call.get", call_id="fc-" + "1" * 22)
        for number, value in (("1", "small"), ("2", b"x" * 50_000)):
            reply = await client.peer.request("call.input", {"call_id": "fc-" + number * 22})
            assert pickle.loads(reply.attachments[0]) == ((value,), {})
            assert reply.body["status"] == "failure" and reply.body["tag"] == "f"
            assert list(reply.body["app"]["functions"]) == ["f"] and reply.body["lost_secrets"] == []

    play(scene, keep_sync=0.0)


def test_what_cannot_be_replayed_is_told_apart(play):
    async def scene(platform):
        worker = await platform.worker(echo)
        client = await platform.client()
        function = await client.app()
        good = await client.create(function, ["fine"])
        await client.outputs(good)
        with pytest.raises(exception.NotFoundError, match="did not fail"):
            await client.request("call.input", call_id=good)
        with pytest.raises(exception.InvalidError, match="has no input 7; it has 1"):
            await client.request("call.input", call_id=good, index=7)
        with pytest.raises(exception.NotFoundError, match="no call"):
            await client.request("call.input", call_id="fc-" + "9" * 22)
        for runner in worker.runners.values():
            runner.work = fail
        bad = await client.create(function, ["a", "b"])
        await client.outputs(bad)
        platform.core.db.run("UPDATE record SET size = 0, payload = NULL WHERE idx = 0 AND call = ?", (bad,))
        with pytest.raises(exception.OutputExpiredError, match="no longer kept"):
            await client.request("call.input", call_id=bad)
        assert (await client.request("call.input", call_id=bad, index=1))["index"] == 1

    play(scene)


def test_records_are_kept_within_their_age_number_and_size(play):
    async def scene(platform):
        await platform.worker(fail)
        client = await platform.client()
        function = await client.app()
        for i in range(4):
            await client.outputs(await client.create(function, [str(i) * 100]))
        garbage.rarely(platform.core)
        await asyncio.sleep(0.05)
        found = await records(client, function_id=function)
        assert len(found) == 3
        assert [r["replayable"] for r in found] == [True, True, False]
        platform.core.db.run("UPDATE record SET ended_at = 1.0 WHERE n = (SELECT min(n) FROM record)")
        garbage.rarely(platform.core)
        await asyncio.sleep(0.05)
        assert len(await records(client, function_id=function)) == 2

    play(scene, records=3, keep_arguments_all=300)


def test_information_about_a_function_says_what_it_is_also_when_its_app_has_stopped(play):
    async def scene(platform):
        worker = await platform.worker(echo)
        client = await platform.client()
        function = await client.app(memory_request=300)
        await client.run(function, [1])
        info = await client.request("function.info", function_id=function)
        assert info["live"] and info["spec"]["memory_request"] == 300 and info["app_name"] == "t"
        assert [c["container_id"] for c in info["containers"]] == worker.started
        assert info["containers"][0]["started_at"] >= info["containers"][0]["created_at"]
        await client.request("app.stop", app_id=client.app_id)
        while platform.core.world.functions:
            await asyncio.sleep(0.01)
        info = await client.request("function.info", function_id=function)
        assert not info["live"] and info["containers"] == []
        with pytest.raises(exception.NotFoundError):
            await client.request("function.info", function_id="fu-" + "9" * 22)

    play(scene)


def test_log_entries_know_their_call_after_it_is_forgotten(play):
    async def scene(platform):
        worker = await platform.worker(echo)
        client = await platform.client()
        function = await client.app()
        call_id = "fc-" + "3" * 22
        await client.run(function, [1], call_id=call_id)
        input_id = worker.runners[worker.started[0]].seen[0]["input_id"]
        await worker.log(worker.started[0], 10, "hello\n", input_id=input_id)
        await worker.log(worker.started[0], 20, "of nobody\n")
        garbage.look(platform.core)
        await asyncio.sleep(0.05)
        with pytest.raises(exception.NotFoundError):
            await client.request("call.get", call_id=call_id)
        query = {"app_id": client.app_id, "call_id": call_id}
        entries = [e async for r in client.peer.stream("app.logs", query) for e in r.body["entries"]]
        assert [(e["text"], e["call_id"]) for e in entries] == [("hello\n", call_id)]

    play(scene, keep_sync=0.0)


def test_percentiles_of_a_histogram_are_within_a_tenth():
    histogram = record_state.Histogram()
    for i in range(1, 1001):
        histogram.add(i / 1000)
    assert histogram.percentile(0.5) == pytest.approx(0.5, rel=0.1)
    assert histogram.percentile(0.99) == pytest.approx(0.99, rel=0.1)
    assert record_state.Histogram().percentile(0.5) is None
    other = record_state.Minute()
    minute = record_state.Minute()
    minute.run.merge(histogram)
    minute.inputs = 1000
    other.merge(json.loads(json.dumps(minute.packed())))
    assert other.run == histogram and other.inputs == 1000


def test_arguments_of_a_failed_call_come_with_the_code_of_the_version_that_it_ran_on(play):
    async def scene(platform):
        worker = await platform.worker(fail)
        client, app = await platform.client(), ids.new("ap")
        one, other = ids.new("fu"), ids.new("fu")
        failed = []
        for name in ("a", "b"):
            await client.deploy(app, f=(one, {"qualname": name}), g=(other, {"qualname": f"g of {name}"}))
            call_id = await client.create(one, [name])
            await client.outputs(call_id)
            failed.append(call_id)
            for container in list(worker.runners):
                await worker.exit(container, {"reason": "exited", "exit_code": 0})
        await client.deploy(app, f=(one, {"qualname": "c"}))
        for call_id, name in zip(failed, ("a", "b"), strict=True):
            found = await client.request("call.input", call_id=call_id, index=0)
            specs = found["app"]["functions"]
            assert {tag: spec["qualname"] for tag, spec in specs.items()} == {"f": name, "g": f"g of {name}"}
        pinned = (await client.request("function.get", app_name="shop", tag="f", version=1))["function_id"]
        call_id = await client.create(pinned, ["pinned"])
        await client.outputs(call_id)
        specs = (await client.request("call.input", call_id=call_id, index=0))["app"]["functions"]
        assert {tag: spec["qualname"] for tag, spec in specs.items()} == {"f": "a", "g": "g of a"}

    play(scene)


def test_records_name_their_app_and_are_listed_for_one_environment(play):
    async def scene(platform):
        await platform.worker(fail)
        client = await platform.client()
        await client.request("environment.create", name="dev")
        calls = {}
        for environment in ("main", "dev"):
            client.app_id, function = ids.new("ap"), ids.new("fu")
            await client.request(
                "app.create", app_id=client.app_id, name=None, description=f"in {environment}", state="ephemeral",
                environment=environment,
            )  # fmt: skip
            await client.request("function.create", app_id=client.app_id, function_id=function, spec=fakes.SPEC)
            await client.request("app.publish", app_id=client.app_id, functions={"f": function})
            calls[environment] = await client.create(function, ["no good"])
            await client.outputs(calls[environment])
        for query, environment in (({}, "main"), ({"environment": "dev"}, "dev"), ({"call_id": calls["dev"]}, "dev")):
            (record,) = await records(client, **query)
            assert (record["call_id"], record["app_name"]) == (calls[environment], f"in {environment}")
        assert record["app_id"] == client.app_id
        with pytest.raises(exception.NotFoundError, match="nowhere"):
            await records(client, environment="nowhere")

    play(scene)
