"""The machine's clock is set by a day, either way, under a real server: nothing that is under way takes it for time."""
from __future__ import annotations

import asyncio
import inspect
import re
import time
import types

import pytest
from keyed import named
from test_containers_life import keep, until

from windlass.kit import clock
from windlass.server.apply import leaps
from windlass.server.loops import garbage
from windlass.server.state import identity, machines, queues, sandboxes, work

DAY = 86400.0
TIME = re.compile(r"(_at|_since|_before|_until|last_active|last_start)$")
RETRY = {"max_retries": 1, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 1.0}
QUICK = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0, "scaledown_window": 20.0}


@pytest.fixture
def hand(monkeypatch):
    """Sets the machine's clock: by so many seconds it is ahead of what it was."""
    ahead = [0.0]
    faked = types.SimpleNamespace(time=lambda: time.time() + ahead[0], monotonic=time.monotonic)
    monkeypatch.setattr(clock, "time", faked)
    return lambda seconds: ahead.__setitem__(0, seconds)


def test_a_clock_goes_on_evenly_and_leaps_only_when_it_is_to_follow(hand):
    ours = clock.SystemClock()
    assert abs(ours.now() - time.time()) < 0.1 and ours.follow() == 0.0
    hand(DAY)
    assert abs(ours.now() - time.time()) < 0.1
    assert ours.follow() == pytest.approx(DAY, abs=0.1) and abs(ours.now() - DAY - time.time()) < 0.1
    assert ours.follow() == 0.0
    hand(DAY + 0.5)
    assert ours.follow() == 0.0


@pytest.mark.parametrize("leap", [DAY, -DAY])
def test_what_is_under_way_goes_on_when_the_clock_is_set(play, hand, leap):
    async def scene(platform):
        core, tries = platform.core, []

        def once(args, kwargs, lease):
            tries.append(time.monotonic())
            if args == ("fails",) and len(tries) == 1:
                raise ValueError("again")
            return NotImplemented if args == ("long",) else "done"

        worker, client = await platform.worker(once), await platform.client()
        q = await named(client, "queue")
        assert await q.push(b"kept", ttl=3600.0)
        function = await client.app(retries=RETRY, timeout=60.0, autoscaler=QUICK, cpu_request=2.0)
        call = await client.create(function, ["fails"])
        await until(lambda: core.world.functions[function].delayed)
        began = time.monotonic()
        hand(leap)
        await until(lambda: abs(core.clock.now() - leap - time.time()) < 1)
        assert (await client.outputs(call))[0]["data"] == "done"
        assert time.monotonic() - began < 5 and len(tries) == 2
        held = await client.create(function, ["long"])
        await until(lambda: any(one.held for one in core.world.containers.values()))
        hand(0.0)
        await until(lambda: abs(core.clock.now() - time.time()) < 1)
        for _ in range(4):
            await asyncio.sleep(0.05)  # some looks of the reaper
        assert core.world.apps[client.app_id].alive and len(worker.started) == 1
        assert [one.held for one in core.world.containers.values()] != [{}]
        assert await q.length() == 1
        (row,) = (await client.request("billing.report", resolution="total"))["rows"]
        assert row["cpu_seconds"] < 60
        await client.request("call.cancel", call_id=held)
        ((runner),) = worker.runners.values()
        await until(lambda: runner.cancelled)

    play(scene)


def test_an_idle_container_stops_after_its_time_though_the_clock_was_set_back(play, hand):
    async def scene(platform):
        worker, client = await platform.worker(lambda args, kwargs, lease: 1), await platform.client()
        function = await client.app(autoscaler={**QUICK, "scaledown_window": 0.3})
        await client.run(function, [1])
        hand(-DAY)
        await until(lambda: not worker.runners, 5.0)

    play(scene)


def test_the_next_server_goes_on_with_what_was_moved(play, hand):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        await client.create(await client.app(), [1])
        await until(lambda: any(one.held for one in platform.core.world.containers.values()))
        hand(DAY)
        await until(lambda: platform.core.clock.now() - time.time() > DAY / 2)
        await asyncio.sleep(0)
        ((created, started),) = platform.core.db.all("SELECT created_at, started_at FROM container")
        assert abs(created - DAY - time.time()) < 10 and abs(started - DAY - time.time()) < 10

    play(scene)


def test_after_a_long_leap_forward_nothing_is_forgotten_for_a_while(play, hand):
    async def scene(platform):
        core = platform.core
        await platform.worker(lambda args, kwargs, lease: 1)
        client = await platform.client()
        call = await client.create(await client.app(), [1])
        await client.outputs(call)
        hand(30 * DAY)
        await until(lambda: leaps.is_calm(core))
        garbage.look(core)
        await asyncio.sleep(0)
        assert core.db.one("SELECT count(*) FROM call") == (1,)
        core.calm_until = 0.0
        garbage.look(core)
        await asyncio.sleep(0)
        assert core.db.one("SELECT count(*) FROM call") == (0,)

    play(scene)


def test_no_time_in_memory_is_forgotten():
    """Whoever adds one decides whether it moves along."""
    stay = {
        (machines.App, "created_at"), (sandboxes.Sandbox, "ended_at"), (work.Call, "created_at"),
        (work.Call, "done_at"),
    }  # fmt: skip
    moved = [
        (machines.App, leaps._APP), (machines.Function, leaps._FUNCTION), (machines.Container, leaps._CONTAINER),
        (machines.Worker, leaps._WORKER), (machines.Build, leaps._BUILD), (sandboxes.Sandbox, leaps._SANDBOX),
        (work.Call, leaps._CALL), (work.Input, leaps._INPUT), (identity.Flow, leaps._FLOW),
        (queues.Part, ("expires_at",)),
    ]  # fmt: skip
    for kind, names in moved:
        times = {name for name in kind.__slots__ if TIME.search(name)}
        assert times - {name for of, name in stay if of is kind} == set(names), kind
    for module in (machines, work, sandboxes, identity, queues):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__ and any(n.endswith("_at") for n in getattr(kind, "__slots__", ())):
                assert kind in dict(moved), kind
