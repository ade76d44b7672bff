"""What COPY takes from the context: what was named, minus what is ignored, and nothing from outside."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from windlass import exception
from windlass.client.dockerfile import context, lines
from windlass.file_pattern_matcher import FilePatternMatcher

LINE = lines.Line("Dockerfile", 7, "COPY what where", "COPY what where")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    for name in ("a.txt", "b.txt", "src/x.py", "src/deep/y.py", "src/deep/z.log", "other/n.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    (place / "src/empty").mkdir()
    (place / "src/link").symlink_to("/somewhere/else")
    (place / "src/up").symlink_to("deep")
    (place / "to-src").symlink_to("src")
    (place / "out").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("not for images")
    return place


def pick(folder: Path, *sources: str, ignore: Callable[[Path], bool] | None = None, **named: Path) -> context.Picked:
    given = context.Context(folder, ignore=ignore or FilePatternMatcher(), named=named)
    return given.pick(sources, LINE)


def test_a_file_and_a_folder_with_all_that_is_below(folder: Path) -> None:
    picked = pick(folder, "a.txt", "/src/")
    assert picked.sources == ["a.txt", "src"]
    assert sorted(picked.local) == ["a.txt", "src/deep/y.py", "src/deep/z.log", "src/x.py"]
    assert picked.lead == {"src/link": "/somewhere/else", "src/up": "deep"}
    assert picked.empty == ["src", "src/deep", "src/empty"]


def test_wildcards_match_within_one_folder(folder: Path) -> None:
    assert pick(folder, "*.txt").sources == ["a.txt", "b.txt"]
    assert pick(folder, "*/*.txt").sources == ["other/n.txt"]
    assert pick(folder, "s*").sources == ["src"]
    assert pick(folder, "?.txt", ignore=FilePatternMatcher("b.*")).sources == ["a.txt"]


def test_what_is_ignored_is_left_out_and_may_be_taken_back(folder: Path) -> None:
    assert sorted(pick(folder, "src", ignore=FilePatternMatcher("**/*.log", "src/link")).local) == [
        "src/deep/y.py", "src/x.py",
    ]  # fmt: skip
    kept = pick(folder, ".", ignore=FilePatternMatcher("*", "!src/deep"))
    assert sorted(kept.local) == ["src/deep/y.py", "src/deep/z.log"] and kept.lead == {}
    assert sorted(pick(folder, "src", ignore=FilePatternMatcher("*", "!src/deep/y.py")).local) == ["src/deep/y.py"]
    assert sorted(pick(folder, ".", ignore=lambda path: path.suffix != ".py").local) == ["src/deep/y.py", "src/x.py"]


@pytest.mark.parametrize("source", ["gone.txt", "gone/", "a.txt/x", "*.nothing", "gone/*.txt", "[a", "src/*.log"])
def test_what_does_not_exist_shows_the_line(folder: Path, source: str) -> None:
    with pytest.raises(exception.ImageBuildError, match="Dockerfile, line 7"):
        pick(folder, source)


def test_what_is_ignored_says_so_when_it_is_named(folder: Path) -> None:
    for source in ("a.txt", "src", "src/deep/y.py"):
        with pytest.raises(exception.ImageBuildError, match="left out of the context") as caught:
            pick(folder, source, ignore=FilePatternMatcher("a.txt", "src"))
        assert ".dockerignore" in caught.value.hint


@pytest.mark.parametrize("source", ["../secret", "..", "src/../../secret", "out/secret", "out", "/../secret"])
def test_what_lies_outside_of_the_context_is_refused(folder: Path, source: str) -> None:
    with pytest.raises(exception.InvalidError, match="outside") as caught:
        pick(folder, source)
    assert "line 7" in str(caught.value)


def test_a_source_that_is_a_link_is_followed_within_the_context(folder: Path) -> None:
    picked = pick(folder, "to-src")
    assert picked.sources == ["to-src"] and "to-src/x.py" in picked.local


def test_named_files_stand_beside_those_of_the_context(folder: Path, tmp_path: Path) -> None:
    named = {"/extra.txt": tmp_path / "secret"}
    picked = pick(folder, "/extra.txt", "*.txt", ignore=FilePatternMatcher("extra.txt"), **named)
    assert picked.local["extra.txt"] == tmp_path / "secret" and "a.txt" in picked.local
    with pytest.raises(FileNotFoundError):
        pick(folder, "x", x=tmp_path / "gone")
