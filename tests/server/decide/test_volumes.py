"""Commits of one volume: what a late one must leave alone, and which layers become one."""

from __future__ import annotations

import random

import pytest

from windlass.server.decide import volumes
from windlass.server.decide.volumes import Commit

NOTHING = frozenset[bytes]()


def commit(by: str, puts: str = "", clears: str = "") -> Commit:
    return Commit(by, frozenset(puts.encode().split()), frozenset(clears.encode().split()))


def test_a_removed_folder_must_spare_what_others_put_into_it_meanwhile():
    since = [commit("b", "d/new other d/sub/deep"), commit("a", "d/own")]
    assert volumes.clash([b"d"], since, made_by="a") == [b"d/new", b"d/sub/deep"]


def test_what_others_put_and_took_away_again_needs_no_sparing():
    since = [commit("b", "d/new d/x/y"), commit("b", "", "d/new d/x")]
    assert volumes.clash([b"d"], since, made_by="a") == []


def test_what_the_author_saw_was_meant_to_go():
    assert volumes.clash([b"d"], [commit("b", "d/changed d/new")], made_by="a", seen=[b"d/changed"]) == [b"d/new"]


def test_a_removed_file_and_a_layer_that_only_puts_clash_with_nothing():
    assert volumes.clash([b"d/x"], [commit("b", "d/x d/xy d")], made_by="a") == []
    assert volumes.clash(NOTHING, [commit("b", "d/x")], made_by="a") == []


@pytest.mark.parametrize("seed", range(200))
def test_a_clash_names_exactly_what_a_layer_would_hide_unseen(seed):
    chance = random.Random(seed)
    names = ["/".join(chance.choice("abc") for _ in range(chance.randint(1, 3))).encode() for _ in range(12)]
    clears = set(chance.sample(names, 2))
    since = [
        Commit(chance.choice("xy"), frozenset(chance.sample(names, 2)), frozenset(chance.sample(names, 1)))
        for _ in range(4)
    ]
    alive: dict[bytes, str] = {}
    for one in since:  # a model that keeps every path by itself
        for path in list(alive):
            if any(path == clear or path.startswith(clear + b"/") for clear in one.clears):
                del alive[path]
        for path in one.puts:
            if one.made_by == "x":
                alive[path] = one.made_by
    wanted = sorted(path for path in alive if any(path.startswith(clear + b"/") for clear in clears))
    assert volumes.clash(clears, since, made_by="y") == wanted


def test_a_stack_stays_low_and_a_file_is_linked_again_only_some_few_times():
    stack, linked, made = [1_000_000], 0, 0
    for _ in range(2000):
        stack.append(10)
        made += 10
        while span := volumes.run(stack):
            start, end = span
            linked += sum(stack[start:end])
            stack[start:end] = [sum(stack[start:end])]
        assert len(stack) <= 17
    assert sum(stack) == 1_000_000 + made
    assert linked <= 8 * made


def test_a_run_is_replaced_where_it_still_is():
    assert volumes.replaced(["a", "b", "c", "d"], ["b", "c"], "x") == ["a", "x", "d"]
    assert volumes.replaced(["a", "c"], ["b", "c"], "x") is None
