"""Containers come, fail, die and go; inputs survive it or end with the reason."""
from __future__ import annotations

import asyncio

LIMIT_ONE = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0, "scaledown_window": 60.0}


async def until(condition, seconds: float = 10.0):
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def keep(args, kwargs, lease):
    return NotImplemented


def test_each_of_many_long_inputs_gets_its_own_container_and_idle_ones_are_stopped(play):
    async def scene(platform):
        async def work(args, kwargs, lease):
            await asyncio.sleep(0.5)

        worker = await platform.worker(work)
        client = await platform.client()
        autoscaler = {"min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": 0.2}
        function = await client.app(autoscaler=autoscaler)
        await client.run(function, list(range(20)), kind="map")
        assert len(worker.started) > 10
        await until(lambda: not worker.runners)
        stats = await client.request("function.stats", function_id=function)
        assert stats["num_total_runners"] == 0

    play(scene)


def test_memory_requests_are_never_promised_twice(play):
    async def scene(platform):
        worker = await platform.worker(keep, memory=1 << 30)
        client = await platform.client()
        function = await client.app(memory_request=300)
        await client.create(function, list(range(10)))
        await until(lambda: len(worker.runners) == 3)
        await asyncio.sleep(0.3)
        assert len(worker.started) == 3

    play(scene)


def test_min_containers_stand_ready_before_the_first_input(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        await client.app(autoscaler={**LIMIT_ONE, "max_containers": 3, "min_containers": 2})
        await until(lambda: len(worker.runners) == 2)

    play(scene)


def test_short_inputs_do_not_start_needless_containers(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: None)
        client = await platform.client()
        function = await client.app()
        await client.run(function, [0])
        await client.run(function, list(range(1000)), kind="map")
        assert len(worker.started) <= 2

    play(scene)


def test_a_crash_under_an_input_is_not_a_retry_but_has_a_budget(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)
        running = asyncio.ensure_future(client.run(function, [1]))
        oom = {"reason": "oom", "memory_peak": 300 << 20, "memory_limit": 256 << 20}
        attempts = []
        for number in range(3):
            await until(lambda n=number: len(worker.started) == n + 1 and any(r.seen for r in worker.runners.values()))
            (identity,) = worker.runners
            attempts += [(lease["attempt"], lease["retries"]) for lease in worker.runners[identity].seen]
            await worker.exit(identity, oom)
        (output,) = await running
        assert output["status"] == "crash" and "300 MiB of 256 MiB" in output["failure"]["reason"]
        assert attempts == [(1, 0), (2, 0), (3, 0)]

    play(scene)


def test_three_failures_to_start_end_what_waits_with_the_reason(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        worker.fail_start = {"reason": "exited", "exit_code": 1}
        client = await platform.client()
        function = await client.app()
        outputs = await client.run(function, [1, 2], kind="map")
        assert [o["status"] for o in outputs] == ["init_failure"] * 2
        assert "exited with code 1" in outputs[0]["failure"]["reason"]

    play(scene)


def test_what_the_runner_says_about_its_failed_start_reaches_the_caller(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)

        async def fail():
            import fakes

            from windlass import paths

            seen = set()
            while True:
                for plan in [p for p in worker.plans if p["container_id"] not in seen]:
                    seen.add(plan["container_id"])
                    link = await fakes.connect(
                        paths.containers_socket(platform.home), role="runner", token=plan["token"],
                        container_id=plan["container_id"],
                    )
                    failure = {"kind": "ImportError", "repr": "no module x", "traceback": "tb", "frames": []}
                    await link.request("runner.failed", {"failure": failure})
                    await worker.report(plan["container_id"], "exited", {"reason": "exited", "exit_code": 1})
                await asyncio.sleep(0.01)

        async def never_ready(identity):
            worker.plans.append((await worker.peer.request("container.plan", {"container_id": identity})).body)

        worker._make = never_ready
        failing = asyncio.ensure_future(fail())
        (output,) = await client.run(function, [1])
        failing.cancel()
        assert output["status"] == "init_failure" and output["failure"]["kind"] == "ImportError"

    play(scene)


def test_a_late_output_of_an_earlier_attempt_is_dropped(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)
        running = asyncio.ensure_future(client.run(function, [1]))
        await until(lambda: any(r.held for r in worker.runners.values()))
        (runner,) = worker.runners.values()
        ((identity, attempt),) = runner.held.items()
        await runner.peer.request("runner.release", {"inputs": [{"input_id": identity, "attempt": attempt}]})
        await until(lambda: runner.held[identity] == attempt + 1)
        late = {"input_id": identity, "attempt": attempt, "status": "failure", "failure": {"repr": "late"}}
        await runner.peer.request("runner.outputs", {"outputs": [late]})
        good = {"input_id": identity, "attempt": attempt + 1, "status": "success", "items": 0}
        await runner.peer.request("runner.outputs", {"outputs": [good, good]})
        assert [o["status"] for o in await running] == ["success"]

    play(scene)


def test_a_function_that_overruns_its_timeout_loses_its_container(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(timeout=1.0, autoscaler=LIMIT_ONE)
        (output,) = await client.run(function, [1])
        assert output["status"] == "timeout"
        await until(lambda: not worker.runners)

    play(scene, timeout_slack=0.1)


def test_a_single_use_container_takes_one_input(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: lease["input_id"])
        client = await platform.client()
        function = await client.app(single_use=True)
        await client.run(function, [1, 2, 3], kind="map")
        assert len(worker.started) >= 3

    play(scene)


def test_a_stopped_container_gives_its_input_back(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)
        running = asyncio.ensure_future(client.run(function, [1]))
        await until(lambda: any(r.seen for r in worker.runners.values()))
        (first,) = worker.runners
        (info,) = (await client.request("container.list"))["containers"]
        assert info["container_id"] == first and info["state"] == "ready"
        await client.request("container.stop", container_id=first)
        await until(lambda: any(r.seen for c, r in worker.runners.items() if c != first))
        running.cancel()

    play(scene)


def test_a_runner_that_falls_silent_is_killed_and_its_input_runs_elsewhere_uncharged(play):
    async def scene(platform):
        silent = [True]

        def work(args, kwargs, lease):
            return NotImplemented if silent and silent.pop() else "elsewhere"

        await platform.worker(work)
        client = await platform.client()
        (output,) = await client.run(await client.app(autoscaler=LIMIT_ONE), [1])
        assert (output["data"], output["retries"]) == ("elsewhere", 0)
        logs = client.peer.stream("app.logs", {"app_id": client.app_id})
        entries = [entry async for reply in logs for entry in reply.body["entries"]]
        assert any("heartbeat timeout" in entry["text"] and entry["source"] == "system" for entry in entries)
        (first, *_) = (await client.request("call.records", app_id=client.app_id))["records"][::-1]
        assert first["status"] == "returned" and not first["final"] and "silent" in first["reason"]

    play(scene, beat=0.5)


def test_a_runner_that_beats_is_left_alone(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        await client.create(await client.app(autoscaler=LIMIT_ONE), [1])
        await until(lambda: any(r.held for r in worker.runners.values()))
        (runner,) = worker.runners.values()
        held = [{"input_id": identity, "attempt": attempt} for identity, attempt in runner.held.items()]
        for _ in range(10):
            await asyncio.sleep(0.3)
            await runner.peer.request("runner.beat", {"held": held})
        assert len(worker.started) == 1 and runner.connected

    play(scene, beat=2.0)


def test_idle_containers_of_others_make_room_on_a_full_machine(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: None, memory=1 << 30)
        client = await platform.client()
        one = await client.app(memory_request=600)
        await client.run(one, [1])
        two = await client.app(memory_request=600)
        await client.run(two, [1])
        assert len(worker.started) == 2

    play(scene)


def test_a_template_that_nobody_uses_counts_as_memory_and_gives_way(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: None, memory=1 << 30)
        client = await platform.client()
        one = await client.app(memory_request=600, snapshot=True, single_use=True)
        worker.templates = [one]
        await client.run(one, [1])
        await client.run(one, [1])  # its own template is no reason to wait: forks share its memory
        await until(lambda: not worker.runners)
        assert worker.templates == [one]
        two = await client.app(memory_request=600)
        await client.run(two, [1])
        assert worker.templates == [] and len(worker.started) == 3

    play(scene)


def test_call_graph_and_autoscaler_answer(play):
    from windlass.kit import ids

    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: None)
        client = await platform.client()
        function = await client.app()
        root = await client.create(function, [1])
        await client.outputs(root)
        child = await client.create(function, [1, 2], parent_input_id=ids.input_id(root, 0))
        await client.outputs(child)
        nodes = (await client.request("call.graph", call_id=root))["nodes"]
        assert [n["input_id"] for n in nodes] == [ids.input_id(root, 0), ids.input_id(child, 0), ids.input_id(child, 1)]
        assert nodes[1]["parent_input_id"] == ids.input_id(root, 0) and {n["status"] for n in nodes} == {"success"}
        changed = await client.request("function.autoscaler", function_id=function, max_containers=7)
        assert changed["max_containers"] == 7 and changed["scaledown_window"] == 60.0

    play(scene)
