"""Text in parts that may be shown by themselves."""
from __future__ import annotations

from windlass.kit import lines


def test_parts_are_whole_lines_unless_one_is_too_long():
    assert [*lines.parts("one\ntwo\nthree\n", 10)] == ["one\ntwo\n", "three\n"]
    assert [*lines.parts("a line of 15 c.\nb\n", 10)] == ["a line of ", "15 c.\nb\n"]
    assert [*lines.parts("no end", 10)] == ["no end"]
    assert [*lines.parts("", 10)] == []
