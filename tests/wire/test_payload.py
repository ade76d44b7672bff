from __future__ import annotations

import pytest

from windlass import exception
from windlass.wire import payload


class Local:
    def __eq__(self, other):
        return isinstance(other, Local)

    __hash__ = None


@pytest.mark.parametrize("value", [None, 1, "x", b"y", [1, (2, {"a": 3.5})], {"k": [1] * 100}, Local(), {1, 2}])
def test_values_survive(value):
    assert payload.loads(payload.dumps(value)) == value


def test_functions_made_on_the_spot_survive():
    bonus = 5
    assert payload.loads(payload.dumps(lambda x: x + bonus))(1) == 6


def test_what_cannot_be_pickled_says_so():
    with pytest.raises(exception.SerializationError, match="cannot pickle a value of type generator"):
        payload.dumps(x for x in ())


def test_a_missing_module_is_named():
    data = b"cno_such_module\nThing\n."
    with pytest.raises(exception.DeserializationError, match="no_such_module"):
        payload.loads(data)


@pytest.mark.parametrize("value", [b"x" * 100, {"x" * 100}], ids=["plain", "cloudpickled"])
def test_what_is_larger_than_the_limit_is_refused_however_it_is_pickled(monkeypatch, value):
    monkeypatch.setattr(payload, "MAX_SIZE", 50)
    with pytest.raises(exception.RequestSizeError, match="larger than the limit of 50 bytes"):
        payload.dumps(value)
