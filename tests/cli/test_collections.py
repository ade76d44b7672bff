"""What `windlass dict` and `windlass queue` show of values."""
from __future__ import annotations

import pickle

from windlass.cli import collections


def test_a_value_that_cannot_be_read_here_is_shown_as_the_reason() -> None:
    assert collections.readable(pickle.dumps({"a": 1})) == "{'a': 1}"
    assert collections.readable(pickle.dumps("a"), repr) == "'a'"
    odd = collections.readable(b"cno_such_module\nThing\n.")
    assert odd.startswith("<cannot unpickle") and "no_such_module" in odd
