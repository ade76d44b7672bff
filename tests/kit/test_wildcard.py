"""Wildcards match as Go's filepath.Match does."""
from __future__ import annotations

import pytest

from windlass.kit import wildcard


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "a", True),
        ("a?c", "abc", True), ("a?c", "ac", False), ("ab[c]", "abc", True), ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False), ("ab[^c]", "abc", False), ("ab[^e-g]", "abc", True), ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False), ("[\\]a]", "]", True), ("[\\-x]", "-", True), ("[x\\-]", "z", False),
        ("*.txt", "x.txt.gz", False), ("a.c", "abc", False), ("*", ".hidden", True),
    ],
)  # fmt: skip
def test_a_part_matches_as_in_go(pattern: str, name: str, matches: bool) -> None:
    assert (wildcard.compiled(pattern).match(name) is not None) is matches


@pytest.mark.parametrize("pattern", ["[", "[^", "[a", "a[", "[]a]", "[-]", "[x-]", "[-x]", "a\\", "[z-a]"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        wildcard.compiled(pattern)


def test_escaped_text_matches_itself_only() -> None:
    for text in ("a*b", "[x]", "q?", "back\\slash", "plain.txt"):
        rule = wildcard.compiled(wildcard.escape(text))
        assert rule.match(text) and not rule.match(text + "x") and not rule.match("x")


def test_a_pattern_is_expanded_folder_by_folder() -> None:
    tree = {"": ["a", "b"], "a": ["x.py", "y.txt"], "b": ["x.py"]}
    assert wildcard.expand("*/x.*", lambda folder: tree.get(folder, [])) == ["a/x.py", "b/x.py"]
    assert wildcard.expand("a/none", lambda folder: tree.get(folder, [])) == ["a/none"]
    assert wildcard.expand("c*/x", lambda folder: tree.get(folder, [])) == []
    assert wildcard.expand("./a/./x*", lambda folder: tree.get(folder, [])) == ["a/x.py"]
