"""Functions that several real containers run together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import windlass
from programs import clustered
from stage import Stage, until


@pytest.fixture(scope="module", autouse=True)
def running(stage: Stage) -> Iterator[None]:
    stage.base()
    with clustered.app.run():
        yield
    windlass.Dict.objects.delete("test-clustered-marks", allow_missing=True)


def test_the_containers_of_a_cluster_run_a_call_together_and_reach_each_other(stage):
    said, ips, asked, own, members = clustered.meet.remote("greetings")
    assert said == [f"greetings of {rank} from {ips[rank]}" for rank in (1, 2)]
    assert len(set(ips)) == 3 and all(one.startswith("fdaa:") for one in ips) and asked == ips
    assert own == members[0]
    assert {one["container_id"] for one in stage.containers()} >= set(members)
    assert clustered.meet.remote("again")[4] == members, "it is used again"


def test_what_rank_0_yields_is_what_the_caller_gets():
    assert list(clustered.Pair().yields.remote_gen(5)) == [(0, number) for number in range(5)]


def test_one_rank_s_exception_is_the_call_s_and_interrupts_the_others():
    with pytest.raises(ValueError, match="rank 1 has had enough"):
        clustered.hurt.remote("raise")
    until(lambda: clustered.MARKS.get("raise-interrupted", False))


def test_a_rank_that_is_killed_has_all_run_again_and_the_caller_sees_one_result():
    assert clustered.hurt.remote("kill") == (0, 2)
    assert clustered.MARKS.get("kill-1") == 2 and clustered.MARKS.get("kill-interrupted")


def test_what_cannot_be_had_here_is_refused_at_once():
    greedy = windlass.App("test-greedy-cluster")
    greedy.function(serialized=True)(windlass.clustered(size=2, rdma=True)(lambda: None))
    with pytest.raises(windlass.exception.UnimplementedError, match="no RDMA devices"), greedy.run():
        pass
    greedy = windlass.App("test-greedy-cluster")
    greedy.function(serialized=True, memory=1 << 26)(windlass.clustered(size=16)(lambda: None))
    with pytest.raises(windlass.exception.InvalidError, match="more than the largest machine has"), greedy.run():
        pass
