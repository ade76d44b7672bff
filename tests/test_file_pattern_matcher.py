"""The grammar of ignore patterns."""
from __future__ import annotations

from pathlib import Path

import pytest

from windlass import file_pattern_matcher
from windlass.file_pattern_matcher import FilePatternMatcher


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["*.py"], "a.py", True),
        (["*.py"], "dir/a.py", False),
        (["**/*.py"], "a.py", True),
        (["**/*.py"], "x/y/a.py", True),
        (["**"], "x/y", True),
        (["dir"], "dir/below/file", True),
        (["dir/**"], "dir", False),
        (["dir/**"], "dir/x/y", True),
        (["dir/"], "dir/x", True),
        (["/dir"], "dir/x", True),
        (["./dir/../other"], "other/x", True),
        (["  spaced.txt  "], "spaced.txt", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[a-c].txt"], "b.txt", True),
        (["[^a-c].txt"], "b.txt", False),
        (["[^a-c].txt"], "d.txt", True),
        ([r"\*.txt"], "*.txt", True),
        ([r"\*.txt"], "a.txt", False),
        (["a.b"], "axb", False),
        (["a|b"], "a", False),
        (["data", "!data/keep"], "data/keep", False),
        (["data", "!data/keep"], "data/other", True),
        (["data", "!data/keep", "data/keep/not"], "data/keep/not", True),
        (["!data"], "data", False),
        (["."], ".", False),
        (["**"], ".", False),
        (["", "  "], "x", False),
        (["a/**/z"], "a/z", True),
        (["a/**/z"], "a/b/c/z", True),
    ],
)
def test_patterns_match_as_docker_ignores_do(patterns: list[str], path: str, expected: bool) -> None:
    assert FilePatternMatcher(*patterns)(Path(path)) is expected


@pytest.mark.parametrize("pattern", ["!", " ! ", "[a", "a\\", "[z-a]"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        FilePatternMatcher(pattern)


def test_inversion_matches_the_opposite_and_inverting_twice_gives_the_original() -> None:
    matcher = FilePatternMatcher("*.py")
    assert (~matcher)(Path("a.txt")) and not (~matcher)(Path("a.py"))
    assert ~~matcher is matcher


def test_folders_are_pruned_only_where_nothing_can_be_taken_back() -> None:
    assert FilePatternMatcher("a", "b/**").can_prune_directories()
    assert not FilePatternMatcher("a", "!a/b").can_prune_directories()
    assert not (~FilePatternMatcher("a")).can_prune_directories()


def test_a_file_of_patterns_is_read_when_first_needed(tmp_path: Path) -> None:
    file = tmp_path / ".dockerignore"
    matcher = FilePatternMatcher.from_file(file)
    file.write_text("# comment\n\n*.log\n!keep.log\n")
    assert matcher(Path("x.log")) and not matcher(Path("keep.log"))
    assert matcher.patterns == ["*.log", "!keep.log"]


def test_python_sources_are_told_from_other_files() -> None:
    assert file_pattern_matcher.NON_PYTHON_FILES(Path("a/b.txt"))
    assert not file_pattern_matcher.NON_PYTHON_FILES(Path("a/b.py"))
