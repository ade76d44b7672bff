"""What is kept of a long output: its beginning and its end, and an honest sum of the rest."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from windlass.server.decide import excerpt


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(0, 100), st.integers(0, 100))
def test_the_first_and_the_last_pieces_stay_and_the_rest_is_counted(sizes, head, tail):
    kept: dict[int, int] = {}
    text = excerpt.Excerpt(head=head, tail=tail)
    for n, size in enumerate(sizes):
        kept[n] = size
        for gone in text.add(n, size):
            del kept[gone]
        assert n in kept, "the newest piece is there to be read"
        assert sum(kept.values()) <= head + max(tail, size)
    assert sum(kept.values()) + text.left_out == sum(sizes)
    gone = [n for n in range(len(sizes)) if n not in kept]
    assert gone == list(range(gone[0], gone[-1] + 1)) if gone else text.gap is None
    assert text.gap == (gone[0] if gone else None)
    if sum(sizes) <= head:
        assert not gone
