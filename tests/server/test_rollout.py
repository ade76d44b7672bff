"""Old containers give way to new ones: pure decisions."""
from __future__ import annotations

import pytest
from fakes import SPEC

from windlass import exception
from windlass.server.decide import rollout, versions
from windlass.server.decide.rollout import Old, Pool

BUSY, IDLE = Old("busy", True), Old("idle", False)


def decided(**facts) -> tuple[int, list[str]]:
    pool = Pool(**{"wanted": 1, "fresh": 0, "ready": 0, "old": [], "active": True, "maximum": 0, **facts})
    return rollout.starts(pool), rollout.leaving(pool)


@pytest.mark.parametrize(
    ("facts", "starts", "leaving"),
    [
        ({"old": [BUSY, IDLE], "wanted": 2}, 2, []),  # nobody leaves before anybody has come
        ({"old": [BUSY, IDLE], "wanted": 2, "fresh": 2}, 0, []),
        ({"old": [BUSY, IDLE], "wanted": 2, "fresh": 2, "ready": 1}, 0, ["idle"]),  # one for one, idle ones first
        ({"old": [BUSY, IDLE], "wanted": 2, "fresh": 2, "ready": 2}, 0, ["idle", "busy"]),
        ({"old": [IDLE], "wanted": 0}, 1, []),  # somebody called lately: one is warm before the old one goes
        ({"old": [IDLE], "wanted": 0, "active": False}, 0, ["idle"]),
        ({"old": [BUSY], "maximum": 1}, 0, []),  # no room, and it has work
        ({"old": [IDLE], "maximum": 1}, 0, ["idle"]),  # no room, so it makes some
        ({"old": [BUSY, IDLE], "wanted": 2, "maximum": 3}, 1, ["idle"]),
        ({"old": [BUSY, IDLE], "wanted": 9, "maximum": 2}, 0, ["idle"]),
        ({"wanted": 3}, 3, []),
        ({"wanted": 3, "maximum": 2}, 2, []),
    ],
)
def test_old_containers_leave_when_new_ones_can_take_their_place(facts, starts, leaving):
    assert decided(**facts) == (starts, leaving)


def part(identity: str, **spec) -> versions.Part:
    return versions.Part(identity, {**SPEC, **spec})


def test_a_version_differs_in_what_changed_came_and_went():
    now = {"a": part("1", tag="a"), "b": part("2", tag="b"), "c": part("3", tag="c")}
    new = {"a": part("1", tag="a"), "b": part("2", tag="b", timeout=1.0), "d": part("4", tag="d")}
    assert versions.difference(now, new) == (["b"], ["d"], ["3"])
    assert not versions.difference(now, now) and versions.difference({}, now).added == ["a", "b", "c"]


def test_ids_stay_while_the_kind_does():
    now = {"a": part("1", tag="a")}
    versions.check(now, {"a": part("1", tag="a", timeout=1.0)})
    versions.check(now, {"a": part("2", tag="a", is_generator=True)})
    with pytest.raises(exception.ConflictError):
        versions.check(now, {"a": part("2", tag="a")})
    with pytest.raises(exception.ConflictError):
        versions.check(now, {"a": part("1", tag="a", is_generator=True)})
    with pytest.raises(exception.InvalidError):
        versions.check(now, {"a": part("1", tag="b")})
