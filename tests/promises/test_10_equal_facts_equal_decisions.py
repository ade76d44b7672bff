"""Promise 10: equal facts, equal decisions."""
from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from windlass.server import decide
from windlass.server.decide import attempts, images, place, scale

ROOM = Path(decide.__file__).parent
IMPURE = {"time", "datetime", "asyncio", "sqlite3", "random", "logging", "secrets", "uuid", "os", "threading"}

samples = st.builds(
    scale.Sample, queued=st.integers(0, 10**6), busy=st.integers(0, 200), seconds=st.none() | st.floats(0, 1e4),
    elapsed=st.floats(0, 1e4), active=st.booleans(), minimum=st.integers(0, 20),
    maximum=st.just(0) | st.integers(20, 300), buffer=st.integers(0, 20), unit=st.integers(1, 100),
)


def test_decisions_cannot_know_the_time_or_the_dice():
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & IMPURE, path


@given(samples)
def test_what_is_needed_lies_between_the_bounds_and_is_always_the_same(sample):
    wanted = scale.needed(sample)
    assert wanted == scale.needed(sample)
    most = sample.maximum or max(sample.minimum, sample.queued + sample.busy + sample.buffer)
    assert sample.minimum <= wanted <= most
    if sample.queued:
        assert wanted >= 1


@given(st.floats(0, 100) | st.none(), st.booleans())
def test_a_container_holds_more_than_one_input_only_when_they_are_short(seconds, single_use):
    held = attempts.capacity(seconds, single_use=single_use)
    assert 1 <= held <= attempts.BATCH_MAX
    if single_use or seconds is None or seconds >= attempts.SHORT:
        assert held == 1


@given(st.integers(0, 20), st.floats(1, 10), st.floats(0, 60), st.floats(1, 60), st.integers(0, 30))
def test_retries_wait_between_one_second_and_the_maximum(count, factor, first, most, done):
    policy = {"max_retries": count, "backoff_coefficient": factor, "initial_delay": first, "max_delay": most}
    delay = attempts.retry_delay(policy, done)
    assert (delay is None) == (done >= count)
    assert delay is None or 1.0 <= delay <= most


def test_the_same_recipe_on_the_same_parent_has_the_same_key_and_secrets_count_by_name_only():
    recipe = {"op": "run", "commands": ["x"], "secrets": ["st-1"], "timeout": 5.0, "force": True}
    one = images.key("im-a", recipe, ["N"])
    two = images.key("im-a", {"commands": ["x"], "op": "run", "secrets": ["st-2"], "env": {}}, ["N"])
    assert one == two and images.image_id(one) == images.image_id(two)
    assert one != images.key("im-b", {"op": "run", "commands": ["x"]}, ["N"])
    assert one != images.key("im-a", {"op": "run", "commands": ["x"]}, ["M"])


NODE = place.Node(name="n", memory=1000, promised=900, containers=3, starting=0, max_containers=50, max_starting=4)


def granted(node: place.Node, *wishes: place.Wish) -> list[str]:
    return [grant.function_id for grant in place.assign([node], wishes).grants]


def test_memory_is_never_promised_twice():
    assert not place.fits(NODE, 128) and place.fits(NODE, 100)
    assert granted(NODE, place.Wish("a", 100, 5)) == ["a"]
    assert granted(NODE._replace(starting=4, promised=0), place.Wish("a", 100, 5, has=1)) == []


def test_nobody_waits_behind_the_thousand_containers_of_another():
    wishes = [place.Wish("a", 10, 1000), place.Wish("b", 10, 1)]
    assert granted(NODE._replace(promised=0), *wishes) == ["a", "b", "a", "a"]


def test_the_longest_idle_make_room_and_only_when_it_helps():
    spares = [place.Spare("new", 300, 9.0), place.Spare("old", 300, 1.0)]
    assert place.evicted(NODE, 200, spares) == ["old"]
    assert place.evicted(NODE, 600, spares) == ["old", "new"]
    assert place.evicted(NODE, 900, spares) == []
