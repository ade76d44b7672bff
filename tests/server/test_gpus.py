"""Which devices a container gets, and who makes room for it."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.server.decide import gpus, place

T4S = [gpus.Gpu("t0", "T4"), gpus.Gpu("t1", "T4")]
MIXED = [*T4S, gpus.Gpu("h0", "H100"), gpus.Gpu("h2", "H200")]


def want(*kinds: str) -> list:
    return [{"kind": kind.partition(":")[0], "count": int(kind.partition(":")[2] or 1)} for kind in kinds]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (("T4:2",), ("t0", "t1")), (("T4:3",), None), (("T4:3", "H100"), ("h0",)), (("H100:2",), None),
        (("ANY",), ("t0",)), (("ANY:2",), ("t0", "t1")), (("H200",), ("h2",)), (("A100",), None),
    ],
)  # fmt: skip
def test_the_first_alternative_that_can_be_had_is_taken_of_one_kind(wanted, chosen):
    assert gpus.choose(MIXED, want(*wanted)) == chosen


def test_a_better_kind_serves_where_that_is_not_forbidden():
    better = [gpus.Gpu("h2", "H200")]
    assert gpus.choose(better, want("H100")) == ("h2",)
    assert gpus.choose(better, want("H100!")) is None
    assert gpus.choose([gpus.Gpu("a", "A100-40GB")], want("A100")) == ("a",)
    assert gpus.choose([gpus.Gpu("a", "A100-40GB")], want("A100-80GB")) is None


def test_what_no_machine_has_is_refused_with_what_there_is():
    gpus.check(want("H100"), [T4S, MIXED])
    gpus.check([], [])
    with pytest.raises(exception.InvalidError, match=r"no machine of this platform has 3 × T4; there is 2 × T4\n"):
        gpus.check(want("T4:3"), [T4S, []])
    with pytest.raises(exception.InvalidError, match="has B200 or T4; none has any GPU"):
        gpus.check(want("B200", "T4"), [[]])


def node(name: str, *devices: gpus.Gpu, **more) -> place.Node:
    return place.Node(name, 1000, 0, 0, 0, 100, 50, tuple(devices))._replace(**more)


def wish(name: str, missing: int, *kinds: str) -> place.Wish:
    return place.Wish(name, 10, missing, app=name, gpus=want(*kinds))


def test_no_device_is_given_twice_and_others_go_anywhere():
    placement = place.assign([node("a"), node("b", *T4S)], [wish("f", 3, "T4"), place.Wish("g", 10, 3, app="g")])
    given = [grant for grant in placement.grants if grant.function_id == "f"]
    assert [(g.node, g.gpus) for g in given] == [("b", ("t0",)), ("b", ("t1",))]
    assert [w.missing for w in placement.short] == [1]
    assert sum(grant.function_id == "g" for grant in placement.grants) == 3


def test_a_machine_without_memory_for_it_keeps_its_devices():
    full = node("b", *T4S, promised=995)
    assert place.assign([full], [wish("f", 1, "T4")]).grants == []
    assert [w.function_id for w in place.assign([full], [wish("f", 1, "T4")]).short] == ["f"]


def held(name: str, function: str, *devices: str, idle: float | None = None) -> gpus.Held:
    return gpus.Held(name, "n", function, devices, idle)


def test_the_longest_idle_make_room_and_only_those_whose_devices_are_of_use():
    there = {"n": [*T4S, gpus.Gpu("h0", "H100")]}
    holders = [held("c1", "x", "h0", idle=1.0), held("c2", "x", "t0", idle=2.0), held("c3", "y", "t1", idle=3.0)]
    assert gpus.freed(want("T4"), "f", 0, {"n": []}, there, holders).stop == ["c2"]
    assert gpus.freed(want("T4:2"), "f", 0, {"n": []}, there, holders).stop == ["c2", "c3"]
    assert gpus.freed(want("T4:2"), "f", 0, {"n": [T4S[0]]}, there, holders[2:]).stop == ["c3"]


def test_where_nobody_idles_who_has_most_gives_but_not_to_one_who_has_as_much():
    there, busy = {"n": T4S}, [held("c1", "x", "t0"), held("c2", "x", "t1")]
    assert gpus.freed(want("T4"), "f", 0, {"n": []}, there, busy) == gpus.Freed([], ["x"])
    assert gpus.freed(want("T4"), "f", 1, {"n": []}, there, busy) == gpus.Freed([], [])
    assert gpus.freed(want("T4"), "x", 2, {"n": []}, there, busy) == gpus.Freed([], [])
