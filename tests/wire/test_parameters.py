from __future__ import annotations

import enum

import pytest

from windlass import exception
from windlass.wire import parameters

SCHEMA = [
    {"name": "s", "type": "str"}, {"name": "i", "type": "int"}, {"name": "b", "type": "bool"},
    {"name": "y", "type": "bytes"},
]  # fmt: skip


class Color(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "values",
    [
        {"s": "", "i": 0, "b": False, "y": b""},
        {"s": "ä\ud800\0\"'", "i": -(16**5000), "b": True, "y": bytes(range(256))},
    ],
)
def test_values_come_back_as_they_were(values):
    assert parameters.decode(parameters.encode(SCHEMA, values)) == values


def test_equal_values_give_equal_text_whatever_their_order_or_subclass():
    one = parameters.encode(SCHEMA, {"s": "red", "i": 1, "b": True, "y": b"x"})
    two = parameters.encode(SCHEMA, {"y": b"x", "b": True, "i": True, "s": Color.RED})
    assert one == two and one.isascii()
    assert parameters.encode([], {}) == ""


def test_the_limit_counts_content_not_its_spelling():
    for values in ({"s": "字" * 5000}, {"s": "x" * 16_000}, {"y": b"\0" * 16_000}):
        text = parameters.encode(SCHEMA, {"s": "", "i": 0, "b": False, "y": b"", **values})
        parameters.check(SCHEMA, text)
    for values in ({"s": "字" * 5500}, {"s": "x" * 16_385}, {"y": b"\0" * 16_390}):
        with pytest.raises(exception.InvalidError, match="limit of 16,384"):
            parameters.encode(SCHEMA, {"s": "", "i": 0, "b": False, "y": b"", **values})
