"""A full machine is shared: nobody with work waits for ever, shares become equal and stay so."""
from __future__ import annotations

import asyncio

from fakes import SPEC
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.kit import ids
from windlass.server.decide import place, reclaim, share

NODE = place.Node(name="n", memory=0, promised=0, containers=0, starting=0, max_containers=32, max_starting=1000)


class Machine:
    """One node of 32 slots, and functions that never have enough: each round the free ones are given out, those who owe
    finish something and give it up."""

    def __init__(self, wants: list[tuple[str, int, int]]) -> None:
        self.wants = {f"f{i}": want for i, want in enumerate(wants)}
        """(app, containers wanted, min_containers)"""
        self.has = dict.fromkeys(self.wants, 0)
        self.moves = 0
        self.now = 0.0
        self.since = dict.fromkeys(self.wants, 0.0)
        self.served: set[str] = set()
        self.step = 0.0

    def age(self, name: str) -> float:
        return self.now - self.since.get(name, 0.0)

    def round(self) -> None:
        self.now += self.step
        node = NODE._replace(containers=sum(self.has.values()))
        placement = place.assign([node], self._wishes(), share.of_apps(self.pools(), share.Room(0, 32)))
        for grant in placement.grants:
            self.has[grant.function_id] += 1
            self.since[grant.function_id] = self.now
            self.served.add(grant.function_id)
        node = NODE._replace(containers=sum(self.has.values()))
        taken = reclaim.take([node], self.pools(), [], placement.short, leaving=0, now=0.0)
        for name, count in taken.owes.items():
            assert self.has[name] - count >= min(self.wants[name][2], self.has[name]), "min_containers stay"
            self.has[name] -= count
            self.moves += count

    def _wishes(self) -> list[place.Wish]:
        return [
            place.Wish(name, 128, want - self.has[name], self.has[name], app, self.since.get(name, 0.0))
            for name, (app, want, _) in self.wants.items()
            if want > self.has[name]
        ]

    def pools(self) -> list[share.Pool]:
        return [
            share.Pool(name, app, 128, self.has[name], reclaim.keeps(least, working=True, age=self.age(name)))
            for name, (app, _, least) in self.wants.items()
            if self.has[name]
        ]


wants = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 1_000_000), st.integers(0, 3)), min_size=1, max_size=8
)


@given(wants, wants)
@settings(max_examples=150, deadline=None)
def test_whoever_has_work_gets_a_container_and_what_is_settled_stays_so(first, later):
    machine = Machine(first)
    for _ in range(4):
        machine.round()
    machine.wants.update({f"g{i}": want for i, want in enumerate(later)})
    machine.has.update({f"g{i}": 0 for i in range(len(later))})
    for _ in range(40):
        machine.round()
    assert all(machine.has.values()), "nobody with work waits for ever"
    settled, moves = dict(machine.has), machine.moves
    for _ in range(5):
        machine.round()
    assert machine.has == settled and machine.moves == moves, "no thrash: no container moves back and forth"


@given(st.integers(2, 6), st.integers(1, 31))
def test_apps_that_want_all_end_with_equal_shares_however_it_began(apps, begin):
    machine = Machine([(f"app{i}", 1_000_000, 0) for i in range(apps)])
    machine.has["f0"] = begin
    for _ in range(40):
        machine.round()
    assert max(machine.has.values()) - min(machine.has.values()) <= 1
    assert sum(machine.has.values()) >= 31 - 1, "what is free is used, but for the reserve"


def test_more_functions_than_the_machine_has_room_for_take_turns():
    machine = Machine([(f"app{i}", 1_000_000, 0) for i in range(50)])
    machine.step = 10.0
    for _ in range(20):
        machine.round()
    assert machine.served == set(machine.wants), "nobody with work waits for ever"
    assert machine.moves <= 200 / reclaim.TURN * 32, "not more often than once a turn"


def test_an_app_of_many_functions_has_no_larger_share_than_one_of_a_single_function():
    machine = Machine([("many", 100, 0)] * 8 + [("one", 100, 0)])
    for _ in range(40):
        machine.round()
    many = sum(count for name, count in machine.has.items() if name != "f8")
    assert abs(many - machine.has["f8"]) <= 2


def test_what_leaves_already_is_not_asked_for_twice():
    pools = [share.Pool("big", "a", 128, 32, 1)]
    short = [place.Wish("small", 128, 1, 0, "b")]
    node = NODE._replace(containers=32)
    assert reclaim.take([node], pools, [], short, leaving=0, now=0.0).owes == {"big": 1}
    assert reclaim.take([node], pools, [], short, leaving=1, now=0.0).owes == {}


def test_the_last_warm_container_of_a_function_goes_only_for_one_that_has_none():
    node = NODE._replace(containers=32)
    idle = [reclaim.Idle("c1", "n", "quiet", 128, since=0.0, last=True)]
    pools = [share.Pool("quiet", "q", 128, 1, 0), share.Pool("busy", "b", 128, 31, 1)]
    some, none = place.Wish("busy", 128, 1, 31, "b"), place.Wish("new", 128, 1, 0, "c")
    assert reclaim.take([node], pools, idle, [some], leaving=0, now=100.0).stop == []
    assert reclaim.take([node], pools, idle, [none], leaving=0, now=100.0).stop == ["c1"]


def test_what_idles_for_long_goes_to_those_who_have_some_and_what_idles_shortly_stays():
    node = NODE._replace(containers=16, max_containers=16)
    idle = [reclaim.Idle(f"c{i}", "n", "quiet", 128, since=i * 50.0, last=False) for i in range(2)]
    pools = [share.Pool("quiet", "q", 128, 2, 0), share.Pool("busy", "b", 128, 28, 1)]
    wish = place.Wish("busy", 128, 1, 28, "b")
    assert reclaim.take([node], pools, idle, [wish], leaving=0, now=5.0).stop == []
    assert reclaim.take([node], pools, idle, [wish._replace(missing=2)], leaving=0, now=55.0).stop == ["c0"]


async def _function(client, app_id: str, name: str, **spec) -> str:
    function = ids.new("fu")
    await client.request("function.create", app_id=app_id, function_id=function, spec={**SPEC, "tag": name, **spec})
    return function


async def _app(client, **spec) -> str:
    app_id = ids.new("ap")
    await client.request("app.create", app_id=app_id, name=None, description="t", state="ephemeral")
    function = await _function(client, app_id, "f", **spec)
    await client.request("app.publish", app_id=app_id, functions={"f": function})
    return function


def test_a_map_that_fills_the_machine_does_not_keep_a_call_out(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: asyncio.sleep(0.05))
        client, other = await platform.client(), await platform.client()
        big, small = await _app(client), await _app(other)
        mapping = asyncio.ensure_future(client.run(big, list(range(900)), kind="map"))
        world = platform.core.world
        while len(world.functions[big].containers) < 4:
            await asyncio.sleep(0.01)
        (output,) = await asyncio.wait_for(other.run(small, [1]), 5)
        assert output["status"] == "success" and not mapping.done()
        mapping.cancel()

    play(scene, max_containers=4)


def test_two_maps_share_a_full_machine_as_their_containers_finish(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: asyncio.sleep(0.03))
        client, other = await platform.client(), await platform.client()
        one, two = await _app(client), await _app(other)
        first = asyncio.ensure_future(client.run(one, list(range(900)), kind="map"))
        world = platform.core.world
        while len(world.functions[one].containers) < 8:
            await asyncio.sleep(0.01)
        second = asyncio.ensure_future(other.run(two, list(range(900)), kind="map"))
        counts = []
        while counts != [4, 4] and not first.done():
            await asyncio.sleep(0.01)
            counts = [len([c for c in world.functions[f].containers.values() if c.state <= 2]) for f in (one, two)]
        assert counts == [4, 4], counts
        assert not first.done() and not second.done()
        first.cancel()
        second.cancel()

    play(scene, max_containers=8)
