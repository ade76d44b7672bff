"""Clusters have room for all their containers or start none."""

from __future__ import annotations

import pytest
from fakes import SPEC

from windlass import exception
from windlass.server.decide import clusters, gpus, place, scale

NODE = place.Node("a", 1000, 0, 0, 0, 100, 2)


def wish(size: int, each: int = 10, **more) -> place.Wish:
    return place.Wish("f", each * size, 1, containers=size, app="f")._replace(**more)


@pytest.mark.parametrize(
    ("node", "asked", "granted"),
    [
        (NODE, wish(4), True),
        (NODE._replace(promised=965), wish(4), False),
        (NODE._replace(promised=960), wish(4), True),
        (NODE._replace(containers=97), wish(4), False),
        (NODE._replace(containers=96), wish(4), True),
        (NODE, wish(4, gpus=[{"kind": "T4", "count": 4}]), False),
    ],
)  # fmt: skip
def test_all_of_a_cluster_fits_on_one_node_or_nothing_is_granted(node, asked, granted):
    placement = place.assign([node, NODE._replace(name="full", containers=100)], [asked])
    assert [grant.node for grant in placement.grants] == (["a"] if granted else [])
    assert [one.missing for one in placement.short] == ([] if granted else [1])


def test_halves_on_two_nodes_are_no_cluster():
    nodes = [NODE._replace(name=name, containers=98) for name in "ab"]
    assert place.assign(nodes, [wish(4)]).grants == []


def test_what_a_cluster_takes_is_not_given_to_the_next_one():
    devices = tuple(gpus.Gpu(f"t{n}", "T4") for n in range(6))
    placement = place.assign([NODE._replace(gpus=devices)], [wish(2, gpus=[{"kind": "T4", "count": 2}], missing=3)])
    assert [grant.gpus for grant in placement.grants] == [("t0", "t1")]
    placement = place.assign([NODE._replace(max_starting=50)], [wish(40, missing=3)])
    assert len(placement.grants) == 2 and [one.missing for one in placement.short] == [1]


def test_a_cluster_that_is_larger_than_what_may_start_at_once_starts_when_nothing_else_does():
    assert len(place.assign([NODE], [wish(50)]).grants) == 1
    busy = place.assign([NODE._replace(starting=4)], [wish(50)])
    assert busy == place.Placement([], []), "it only waits"


def test_bounds_in_containers_become_bounds_in_clusters():
    sample = scale.Sample(
        queued=0, busy=0, seconds=None, elapsed=0, active=True, minimum=5, maximum=11, buffer=1, unit=8
    )
    several = scale.in_clusters(sample, 4)
    assert (several.minimum, several.maximum, several.buffer, several.unit) == (2, 2, 1, 1)
    assert scale.needed(several._replace(queued=9)) == 2
    assert scale.in_clusters(sample._replace(maximum=0), 4).maximum == 0


def spec(**more):
    return {**SPEC, "i6pn": True, "cluster": {"size": 2, "rdma": False}, **more}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"cluster": {"size": 0, "rdma": False}}, "1 to 256 containers, not 0"),
        ({"cluster": {"size": 257, "rdma": False}}, "1 to 256 containers, not 257"),
        ({"cluster": {"size": 33, "rdma": False}}, "at most 32"),
        ({"i6pn": False}, "i6pn"),
        ({"methods": {"a": {}, "b": {}}}, "at most one method"),
        ({"concurrency": {"max_inputs": 2, "target_inputs": 2}}, "one call at a time"),
        ({"methods": {"a": {"web": {"kind": "asgi"}}}}, "no web requests"),
        ({"autoscaler": {**SPEC["autoscaler"], "max_containers": 1}}, "max_containers=1"),
    ],
)  # fmt: skip
def test_what_no_decorator_lets_through_is_refused(wrong, error):
    clusters.check(spec(), 32)
    with pytest.raises(exception.InvalidError, match=error):
        clusters.check(spec(**wrong), 32)


def test_rdma_is_refused_with_what_there_is_instead():
    with pytest.raises(exception.UnimplementedError, match=r"(?s)no RDMA devices.*private addresses"):
        clusters.check(spec(cluster={"size": 2, "rdma": True}), 32)


def test_devices_of_the_whole_are_dealt_by_rank():
    assert clusters.together([{"kind": "T4", "count": 2}], 3) == [{"kind": "T4", "count": 6}]
    assert clusters.dealt(["a", "b", "c", "d"], 2) == [("a", "b"), ("c", "d")]
    assert clusters.dealt([], 2) == [(), ()]
