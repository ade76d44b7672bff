"""Containers of a cluster start, work and end together, whatever happens to one of them."""
from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from windlass import exception
from windlass.kit import ids

ALONE = {"min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": 60.0}
CLUSTER = {"i6pn": True, "cluster": {"size": 3, "rdma": False}}
KILLED = {"reason": "signal", "signal": 9}


async def until(condition, seconds: float = 10.0):
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


class Ranks:
    """What each rank does with an attempt, held back until it is told."""

    def __init__(self, worker) -> None:
        self.worker = worker
        self.gates: dict[tuple[int, int], asyncio.Future] = {}
        worker.work = self

    def of(self, rank: int):
        return next(r for r in self.worker.runners.values() if r.plan["runner"]["cluster"]["rank"] == rank)

    async def __call__(self, args, kwargs, lease):
        rank = next(
            r.plan["runner"]["cluster"]["rank"] for r in self.worker.runners.values() if any(s is lease for s in r.seen)
        )
        gate = self.gates[lease["attempt"], rank] = asyncio.get_running_loop().create_future()
        return await gate

    async def begun(self, attempt: int) -> None:
        await until(lambda: all((attempt, rank) in self.gates for rank in range(3)))

    def end(self, attempt: int, *ranks: int) -> None:
        for rank in ranks:
            self.gates[attempt, rank].set_result(f"rank {rank}")


async def clustered(platform, **spec):
    worker = await platform.worker(None)
    ranks = Ranks(worker)
    client = await platform.client()
    return worker, ranks, client, await client.app(**{**CLUSTER, **spec})


def held_nowhere(platform) -> bool:
    functions = platform.core.world.functions.values()
    return all(not c.held for c in platform.core.world.containers.values()) and all(not f.running for f in functions)


def test_each_rank_gets_the_call_and_rank_0_s_value_is_its_result_when_all_have_ended(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform)
        call = asyncio.ensure_future(client.run(function, ["x"]))
        await ranks.begun(1)
        assert len(worker.started) == 3
        plans = sorted((r.plan["runner"]["cluster"] for r in worker.runners.values()), key=lambda plan: plan["rank"])
        assert [plan["rank"] for plan in plans] == [0, 1, 2]
        assert len({(p["cluster_id"], *p["containers"], *p["addresses"]) for p in plans}) == 1
        assert [p["network"]["address"] for c in plans[0]["containers"] for p in worker.plans
                if p["container_id"] == c] == plans[0]["addresses"]  # fmt: skip
        known = await client.request("cluster.get", cluster_id=plans[0]["cluster_id"])
        assert known["containers"] == plans[0]["containers"] and known["addresses"] == plans[0]["addresses"]
        ranks.end(1, 0, 2)
        await asyncio.sleep(0.1)
        assert not call.done(), "rank 1 still works"
        ranks.end(1, 1)
        (output,) = await call
        assert output["status"] == "success" and output["data"] == "rank 0"
        await until(lambda: held_nowhere(platform) and not any(r.held for r in worker.runners.values()))

        again = asyncio.ensure_future(client.run(function, ["y"]))
        ranks.gates.clear()
        await ranks.begun(1)
        ranks.end(1, 0, 1, 2)
        await again
        assert len(worker.started) == 3, "the cluster is used again"
        with pytest.raises(exception.NotFoundError, match="no cluster"):
            await client.request("cluster.get", cluster_id="cu-0000000000000000000000")

    play(scene)


def test_one_rank_s_failure_is_the_call_s_failure_and_ends_the_cluster(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform)
        call = asyncio.ensure_future(client.run(function, ["x"]))
        await ranks.begun(1)
        first = set(worker.started)
        ranks.end(1, 0)
        ranks.gates[1, 2].set_exception(ValueError("rank 2 has no more"))
        (output,) = await call
        assert output["status"] == "failure" and str(output["data"]) == "rank 2 has no more"
        await until(lambda: not worker.runners)
        assert set(worker.started) == first and held_nowhere(platform)

    play(scene)


def test_a_failed_call_is_tried_again_as_one_in_a_new_cluster(play):
    async def scene(platform):
        policy = {"max_retries": 1, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 1.0}
        worker, ranks, client, function = await clustered(platform, retries=policy)
        call = asyncio.ensure_future(client.run(function, ["x"]))
        await ranks.begun(1)
        first = set(worker.started)
        ranks.gates[1, 1].set_exception(ValueError("once"))
        await ranks.begun(2)
        assert not first & set(worker.runners) and len(worker.started) == 6
        ranks.end(2, 0, 1, 2)
        (output,) = await call
        assert output["data"] == "rank 0" and output["retries"] == 1

    play(scene)


@pytest.mark.parametrize("killed", [0, 2])
def test_a_rank_that_is_killed_takes_the_others_along_and_the_call_runs_again_once(play, killed):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform)
        call = asyncio.ensure_future(client.run(function, ["x"]))
        await ranks.begun(1)
        first, late = set(worker.started), ranks.of(1)
        await worker.exit(ranks.of(killed).plan["container_id"], KILLED)
        await ranks.begun(2)
        assert not first & set(worker.runners) and late.stop_body["graceful"] is False
        ranks.end(2, 0, 1, 2)
        outputs = await call
        assert [o["data"] for o in outputs] == ["rank 0"]
        assert platform.core.db.all("SELECT count(*) FROM output") == [(1,)]
        await until(lambda: held_nowhere(platform))

    play(scene)


def test_a_call_whose_clusters_keep_dying_fails_with_the_reason(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform)
        call = asyncio.ensure_future(client.run(function, ["x"]))
        for attempt in range(1, platform.core.settings.crash_budget + 1):
            await ranks.begun(attempt)
            await worker.exit(ranks.of(1).plan["container_id"], KILLED)
        (output,) = await call
        assert output["status"] == "crash" and "signal 9" in output["failure"]["reason"]

    play(scene)


def test_a_cancelled_call_ends_for_all_ranks(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform)
        call = await client.create(function, ["x"])
        await ranks.begun(1)
        runners = list(worker.runners.values())
        await client.request("call.cancel", call_id=call)
        await until(lambda: all(r.cancelled for r in runners))
        ended = {"input_id": runners[0].seen[0]["input_id"], "attempt": 1, "status": "terminated"}
        await runners[1].peer.request("runner.outputs", {"outputs": [ended]})  # and the others are stopped
        (output,) = await client.outputs(call)
        assert output["status"] == "terminated"
        await until(lambda: held_nowhere(platform) and not worker.runners)

    play(scene)


def test_a_server_that_starts_again_knows_its_clusters_and_loses_no_rank_s_report(home):
    from conftest import Platform

    async def main():
        platform = await Platform(home).start()
        worker, ranks, client, function = await clustered(platform)
        call = await client.create(function, ["x"])
        await ranks.begun(1)
        ranks.end(1, 0)
        await asyncio.sleep(0.1)
        await platform.stop()
        platform = await Platform(home).start()
        worker.peer.close()
        await worker.start()
        runners = list(worker.runners.values())
        for runner in runners:
            await runner.start()
        for runner in runners:
            rank, (lease,) = runner.plan["runner"]["cluster"]["rank"], runner.seen
            assert runner.held == {lease["input_id"]: 1}, "nobody was told that it may forget"
            ended = {"input_id": lease["input_id"], "attempt": 1, "status": "success", "items": rank}
            runner.tasks.add(asyncio.ensure_future(runner.peer.request("runner.outputs", {"outputs": [ended]})))
        client = await platform.client()
        (output,) = await client.outputs(call)
        assert output["status"] == "success" and output["items"] == 0 and len(worker.started) == 3
        await platform.stop()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_no_half_of_a_cluster_holds_room_that_the_other_half_does_not_get(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform, memory_request=300)
        worker.memory = 1 << 30
        await worker.hello()
        first = asyncio.ensure_future(client.run(function, ["x"]))
        second = asyncio.ensure_future(client.run(function, ["y"]))
        await ranks.begun(1)
        await asyncio.sleep(0.3)
        assert len(worker.started) == 3, "900 of 1,024 MiB are taken: the second call waits for the whole cluster"
        gates, ranks.gates = ranks.gates, {}
        for gate in gates.values():
            gate.set_result("first")
        await first
        await ranks.begun(1)
        ranks.end(1, 0, 1, 2)
        await second
        with pytest.raises(exception.InvalidError, match="memory=1,200 MiB"):
            await client.app(**{**CLUSTER, "cluster": {"size": 4, "rdma": False}}, memory_request=300)
        with pytest.raises(exception.InvalidError, match="3 × T4"):
            await client.app(**CLUSTER, gpus=[{"kind": "T4", "count": 1}])

    play(scene)


def test_idle_clusters_are_stopped_whole(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform, autoscaler={**ALONE, "scaledown_window": 0.2})
        call = asyncio.ensure_future(client.run(function, ["x"]))
        await ranks.begun(1)
        ranks.end(1, 0, 1, 2)
        await call
        await until(lambda: not platform.core.world.functions[function].clusters)
        assert not worker.runners and not platform.core.world.containers

    play(scene)


def test_single_use_means_a_cluster_for_each_call(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform, single_use=True)
        for _ in range(2):
            call = asyncio.ensure_future(client.run(function, ["x"]))
            await ranks.begun(1)
            ranks.end(1, 1, 2, 0)
            assert (await call)[0]["data"] == "rank 0"
            ranks.gates.clear()
            await until(lambda: not worker.runners)
        assert len(worker.started) == 6

    play(scene)


def test_a_rank_that_is_asked_to_end_lets_all_finish_and_then_all_end(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform)
        call = asyncio.ensure_future(client.run(function, ["x"]))
        await ranks.begun(1)
        runners = list(worker.runners.values())
        for runner in runners:
            runner.stopped.set = lambda: None  # like the real one, it goes on until all has been said
        await client.request("container.stop", container_id=ranks.of(2).plan["container_id"], graceful=True)
        await until(lambda: all(runner.stop_body for runner in runners))
        assert all(runner.stop_body["graceful"] for runner in runners)
        ranks.end(1, 0, 1, 2)
        assert (await call)[0]["data"] == "rank 0" and {attempt for attempt, _ in ranks.gates} == {1}
        for runner in runners:
            asyncio.Event.set(runner.stopped)
        await until(lambda: not set(runners) & set(worker.runners.values()))

    play(scene)


def test_an_idle_cluster_makes_room_for_others_as_a_whole(play):
    async def scene(platform):
        worker, ranks, client, function = await clustered(platform, memory_request=300)
        worker.memory = 1 << 30
        await worker.hello()
        call = asyncio.ensure_future(client.run(function, ["x"]))
        await ranks.begun(1)
        ranks.end(1, 0, 1, 2)
        await call
        worker.work = lambda args, kwargs, lease: "alone"
        other = await (await platform.client()).app(memory_request=300)
        assert (await client.run(other, ["y"]))[0]["data"] == "alone"
        await until(lambda: len(worker.runners) == 1)

    play(scene)


def test_starts_that_fail_fail_the_call_and_leave_nothing(play):
    async def scene(platform):
        worker, _, client, function = await clustered(platform)
        worker.fail_start = {"reason": "exited", "exit_code": 1}
        (output,) = await client.run(function, ["x"])
        assert output["status"] == "init_failure" and "code 1" in output["failure"]["reason"]
        await until(lambda: not platform.core.world.functions[function].clusters)
        assert not platform.core.world.containers

    play(scene)


@pytest.mark.parametrize("way", ["to a larger cluster", "to a plain function", "from a plain function"])
def test_a_new_version_may_be_clustered_otherwise(play, way):
    async def scene(platform):
        worker = await platform.worker(None)
        client = await platform.client()
        plain, larger = {}, {**CLUSTER, "cluster": {"size": 4, "rdma": False}}
        old = plain if way.startswith("from") else CLUSTER
        new = CLUSTER if old is plain else larger if way.endswith("cluster") else plain
        app, function = ids.new("ap"), ids.new("fu")
        await client.request("app.create", app_id=app, name="shop", description="t", state="deployed")
        await client.deploy(app, f=(function, old))
        held_by = [asyncio.get_running_loop().create_future()]

        async def work(args, kwargs, lease):
            if args[0] == "old":
                await held_by[0]
            return args[0], (lease["spec"].get("cluster") or {"size": 1})["size"]

        worker.work = work
        first = asyncio.ensure_future(client.run(function, ["old"]))
        size = old.get("cluster", {"size": 1})["size"]
        await until(lambda: sum(len(r.seen) for r in worker.runners.values()) == size)
        before = set(worker.runners)
        for runner in worker.runners.values():
            runner.stopped.set = lambda: None  # like the real one, it finishes what it has
        await client.deploy(app, f=(function, new))
        (output,) = await client.run(function, ["new"])
        assert output["data"] == ("new", new.get("cluster", {"size": 1})["size"])
        held_by[0].set_result(None)
        assert (await first)[0]["data"] == ("old", size)
        for identity in before:
            asyncio.Event.set(worker.runners[identity].stopped)
        await until(lambda: not before & set(worker.runners))
        assert held_nowhere(platform)

    play(scene)


def test_each_rank_has_gpus_of_its_own_and_all_of_them_must_exist(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: lease["attempt"])
        worker.gpus = [{"gpu_id": f"t{n}", "kind": "T4", "model": "Tesla T4"} for n in range(6)]
        await worker.hello()
        client = await platform.client()
        function = await client.app(**CLUSTER, gpus=[{"kind": "T4", "count": 2}])
        await client.run(function, ["x"])
        lent = [gpu for plan in worker.plans for gpu in plan["gpus"]]
        assert [len(plan["gpus"]) for plan in worker.plans] == [2, 2, 2] and len(set(lent)) == 6
        with pytest.raises(exception.InvalidError, match="has 9 × T4; there is 6 × T4"):
            await client.app(**CLUSTER, gpus=[{"kind": "T4", "count": 3}])

    play(scene)


async def forgets(runner) -> None:
    """Its connection breaks, and what it was about to say is lost with it."""
    for task in list(runner.tasks):
        task.cancel()
    runner.held.clear()
    runner.peer.close()
    await until(lambda: not runner.connected)
    with contextlib.suppress(exception.Error):  # it may be too late
        await runner.start()


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_dies_whenever_each_call_ends_once_and_no_rank_works_with_another_attempt_s(play, seed):
    async def scene(platform):
        chance = random.Random(seed)
        together: dict[tuple[str, int], set[str]] = {}

        async def work(args, kwargs, lease):
            key = lease["input_id"], lease["attempt"]
            runner = next(r for r in worker.runners.values() if any(one is lease for one in r.seen))
            plan = runner.plan["runner"]["cluster"]
            together.setdefault(key, set()).add(plan["cluster_id"])
            await asyncio.sleep(chance.random() * 0.03)
            if chance.random() < 0.05:
                raise ValueError("by chance")
            return args[0], plan["rank"]

        worker = await platform.worker(work)
        client = await platform.client()
        policy = {"max_retries": 20, "backoff_coefficient": 1.0, "initial_delay": 0.0, "max_delay": 1.0}
        function = await client.app(**{**CLUSTER, "retries": policy, "autoscaler": {**ALONE, "max_containers": 9}})
        call = asyncio.ensure_future(client.run(function, list(range(20)), kind="map"))
        for _ in range(25):
            await asyncio.sleep(chance.random() * 0.05)
            known = platform.core.world.containers
            if ready := [one for one in worker.runners if one in known and known[one].started_at]:
                victim = chance.choice(ready)
                match chance.randrange(3):
                    case 0:
                        await worker.exit(victim, KILLED)
                    case 1:
                        await worker.exit(victim, {"reason": "lost"})
                    case 2:
                        await forgets(worker.runners[victim])
        outputs = await call
        assert sorted(output["index"] for output in outputs) == list(range(20))
        done = [output for output in outputs if output["status"] == "success"]
        assert all(output["data"] == (output["index"], 0) for output in done)
        assert {output["status"] for output in outputs} <= {"success", "crash"} and len(done) > 10
        assert all(len(clusters) == 1 for clusters in together.values())
        await until(lambda: held_nowhere(platform))
        alive = platform.core.world.functions[function].clusters.values()
        await until(lambda: all(one.whole for one in alive))

    play(scene, crash_budget=30)
