"""Which container of a server answers."""
from __future__ import annotations

from windlass.server.decide import sessions


def some(**held: int) -> list[sessions.Candidate]:
    return [sessions.Candidate(name, count, 4) for name, count in held.items()]


def test_without_a_session_the_one_with_the_least_to_do_answers():
    assert sessions.Sessions().choose(some(a=2, b=1, c=3), "") == "b"
    assert sessions.Sessions().choose(some(a=4, b=4), "") is None
    assert sessions.Sessions().choose([], "") is None


def test_a_session_stays_where_it_is_while_that_container_lives():
    places = sessions.Sessions()
    first = places.choose(some(a=0, b=0), "s")
    other = "b" if first == "a" else "a"
    assert places.choose(some(**{first: 3, other: 0}, c=0), "s") == first
    assert places.choose(some(**{first: 4, other: 0}), "s") is None
    assert places.choose(some(**{other: 0}), "s") == other
    assert places.choose(some(**{first: 0, other: 0}), "s") == other


def test_a_session_does_not_begin_at_a_full_container():
    for number in range(20):
        assert sessions.Sessions().choose(some(a=4, b=0), f"s{number}") == "b"


def test_sessions_are_spread_and_found_again_by_who_forgot_them():
    places = [sessions.Sessions().choose(some(a=0, b=0, c=0), f"s{n}") for n in range(300)]
    assert all(60 < places.count(name) < 140 for name in "abc")
    assert places == [sessions.Sessions().choose(some(c=1, b=2, a=3), f"s{n}") for n in range(300)]


def test_the_longest_unused_sessions_are_forgotten():
    places = sessions.Sessions(most=2)
    for name in ("x", "y", "x", "z"):
        places.choose(some(a=0), name)
    assert list(places._places) == ["x", "z"]
