from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from windlass.kit import ids


def test_identities_are_fresh_and_well_formed():
    made = {ids.new("fc") for _ in range(1000)}
    assert len(made) == 1000 and all(ids.is_id(i, "fc") for i in made)


def test_a_supply_never_gives_an_identity_twice():
    supply = ids.Supply("fc")
    made = [supply.new() for _ in range(1000)]
    assert len(set(made)) == 1000 and all(ids.is_id(one, "fc") for one in made)


@given(st.integers(0, 62**6 - 1))
def test_an_input_id_tells_its_index(index):
    call = ids.new("fc")
    identity = ids.input_id(call, index)
    assert ids.is_id(identity, "in") and ids.input_index(identity) == index


def test_inputs_of_different_calls_differ():
    assert ids.input_id(ids.new("fc"), 0) != ids.input_id(ids.new("fc"), 0)
