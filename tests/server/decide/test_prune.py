"""What remains is whole, what is used stays, and the oldest goes first."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.server.decide import prune

Image, Rule = prune.Image, prune.Rule


def gone(images, sizes, rule, in_use=()):
    return [one.image_id for one in prune.removals(images, sizes, in_use=in_use, rule=rule)]


def tower(*used_at):
    """An image on the one before it, "0" being the base."""
    return {
        str(n): Image(str(n - 1) if n else None, tuple(str(m) for m in range(n + 1)), at)
        for n, at in enumerate(used_at)
    }


SIZES = {"0": 100, "1": 10, "2": 1}


def test_what_was_not_used_for_long_goes_top_first():
    assert gone(tower(1, 1, 1), SIZES, Rule(before=5)) == ["2", "1", "0"]


def test_the_last_use_of_an_image_is_one_of_all_that_it_stands_on():
    assert gone(tower(1, 9, 1), SIZES, Rule(before=5)) == ["2"]
    assert gone(tower(1, 1, 9), SIZES, Rule(before=5)) == []


def test_what_is_used_keeps_what_it_stands_on():
    assert gone(tower(1, 1, 1), SIZES, Rule(before=math.inf), in_use=["1"]) == ["2"]


def test_a_parent_of_words_only_stays_with_its_child():
    images = {
        "base": Image(None, ("base",), 1),
        "env": Image("base", ("base",), 1),
        "pip": Image("env", ("base", "pip"), 9),
    }
    assert gone(images, {"base": 5, "env": 0, "pip": 5}, Rule(before=5)) == []


def test_a_budget_takes_the_longest_unused_and_no_more_than_it_must():
    images = {"a": Image(None, ("a",), 3), "b": Image(None, ("b",), 1), "c": Image(None, ("c",), 2)}
    sizes = {"a": 10, "b": 10, "c": 10}
    assert gone(images, sizes, Rule(budget=20)) == ["b"]
    assert gone(images, sizes, Rule(budget=19)) == ["b", "c"]
    assert gone(images, sizes, Rule(budget=0)) == ["b", "c", "a"]
    assert gone(images, sizes, Rule(budget=0, fresh=2.5)) == ["b", "c"]


def test_a_layer_that_a_kept_image_shares_frees_nothing():
    images = {"a": Image(None, ("sha-x", "sha-y"), 1), "b": Image(None, ("sha-x", "sha-z"), 9)}
    sizes = {"a": 0, "b": 0, "sha-x": 1000, "sha-y": 10, "sha-z": 1}
    found = prune.removals(images, sizes, in_use=["b"], rule=Rule(before=5))
    assert found == [prune.Removal("a", 10)]
    assert prune.removals(images, sizes, in_use=[], rule=Rule(before=99))[1] == prune.Removal("b", 1001)


def test_images_that_no_row_knows_have_a_grace_of_their_own():
    images = {"a": Image(None, ("a",), 3, known=False), "b": Image(None, ("b",), 3)}
    assert gone(images, {"a": 1, "b": 1}, Rule(before=1, unknown_before=5)) == ["a"]


def test_an_image_that_no_worker_has_is_not_removed():
    assert gone(tower(1, 1), {"0": 1}, Rule(before=5)) == ["0"]


DAY = 86400.0
GIB = 1024**3


def rule(**facts):
    return prune.automatic(**{
        "now": 100 * DAY, "keep": 30 * DAY, "unknown": DAY, "budget": 0, "stored": 10 * GIB, "disk": 100 * GIB,
        "free": 50 * GIB, **facts,
    })  # fmt: skip


def test_the_automatic_budget_is_what_was_set_or_a_share_of_the_disk():
    assert rule() == Rule(before=70 * DAY, unknown_before=99 * DAY, budget=60 * GIB, fresh=100 * DAY - 3600)
    assert rule(budget=7).budget == 7


def test_a_disk_that_runs_full_lowers_the_budget_by_what_is_missing():
    assert rule(free=2 * GIB).budget == 7 * GIB
    assert rule(free=0, stored=GIB).budget == 0


def test_damage_spreads_to_all_that_stands_on_it():
    assert prune.damaged({"a": ["a"], "b": ["a", "b"], "c": ["c"]}, {"a"}) == {"a", "b"}
    assert prune.damaged({"a": ["sha-x"], "b": ["sha-y"]}, {"sha-y"}) == {"sha-y", "b"}


@st.composite
def stores(draw):
    """Trees of images; some add a layer of their own, some only words, some layers that others have too."""
    images, sizes = {}, {}
    for n in range(draw(st.integers(1, 12))):
        name, parent = f"im{n}", None
        if images and draw(st.booleans()):
            parent = draw(st.sampled_from(sorted(images)))
        below = images[parent].layers if parent else ()
        own = draw(st.sampled_from([(), (name,), ("sha-1", "sha-2"), ("sha-2",)]))
        layers = below + tuple(layer for layer in own if layer not in below)
        images[name] = Image(parent, layers, draw(st.integers(0, 9)), draw(st.booleans()))
        sizes[name] = draw(st.integers(0, 9)) if name in layers else 0
    shared = {layer for image in images.values() for layer in image.layers if layer.startswith("sha-")}
    return images, {**sizes, **{layer: draw(st.integers(0, 9)) for layer in shared}}


@settings(max_examples=500)
@given(
    stores(),
    st.sets(st.integers(0, 11)),
    st.sampled_from([-math.inf, 3, 7, math.inf]),
    st.sampled_from([-math.inf, 5]),
    st.sampled_from([0, 10, 30, math.inf]),
    st.sampled_from([4, math.inf]),
)
def test_what_remains_is_whole_and_nothing_used_goes(store, numbers, before, unknown_before, budget, fresh):
    images, sizes = store
    in_use = {f"im{n}" for n in numbers}
    chosen = Rule(before, unknown_before, budget, fresh)
    found = prune.removals(images, sizes, in_use=in_use, rule=chosen)
    left = dict(images)
    for removal in found:  # whole after each single step, not only at the end
        assert removal.image_id not in in_use
        before_it = {layer for one, image in left.items() for layer in {one, *image.layers}}
        del left[removal.image_id]
        after_it = {layer for one, image in left.items() for layer in {one, *image.layers}}
        assert removal.size == sum(sizes[layer] for layer in before_it - after_it)
        for image in left.values():
            assert image.parent is None or image.parent in left
            assert all(layer in left for layer in image.layers if layer in images)
    stored = sum(sizes[layer] for layer in {layer for one, image in left.items() for layer in {one, *image.layers}})
    assert stored == sum(sizes.values()) - sum(removal.size for removal in found)
    if stored > budget and fresh == math.inf:
        everything = prune.removals(images, sizes, in_use=in_use, rule=Rule(before=math.inf))
        assert {one.image_id for one in everything} == {one.image_id for one in found}, "nothing more could go"
