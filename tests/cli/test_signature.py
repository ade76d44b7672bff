"""Options from signatures."""
from __future__ import annotations

import datetime
from typing import Any, Literal

import click
import pytest

from windlass import exception
from windlass.cli import signature


def parse(function: Any, *words: str) -> tuple[list[Any], dict[str, Any]]:
    return signature.parse(function, words, title="windlass run x.py")


def test_types_come_from_annotations() -> None:
    def main(count: int, rate: float = 0.5, name: str = "a", when: datetime.datetime | None = None) -> None: ...

    _, keywords = parse(main, "--count", "3", "--when", "2026-01-02T03:04:05")
    assert keywords == {"count": 3, "rate": 0.5, "name": "a", "when": datetime.datetime(2026, 1, 2, 3, 4, 5)}


def test_underscores_become_dashes_and_none_defaults_stay_none() -> None:
    def main(max_depth: int | None = None) -> None: ...

    assert parse(main)[1] == {"max_depth": None}
    assert parse(main, "--max-depth", "4")[1] == {"max_depth": 4}


def test_booleans_are_pairs_of_flags() -> None:
    def main(fast: bool, quiet: bool = True) -> None: ...

    assert parse(main, "--no-fast")[1] == {"fast": False, "quiet": True}
    assert parse(main, "--fast", "--no-quiet")[1] == {"fast": True, "quiet": False}
    with pytest.raises(click.UsageError):
        parse(main)


def test_literals_are_choices() -> None:
    def main(mode: Literal["a", "b"] = "a", level: Literal[1, 2] = 1) -> None: ...

    assert parse(main, "--level", "2")[1] == {"mode": "a", "level": 2}
    with pytest.raises(click.UsageError, match="'c' is not one of"):
        parse(main, "--mode", "c")


def test_parameters_without_annotation_stay_text() -> None:
    def main(x, y: Any = 1): ...  # type: ignore[no-untyped-def]

    assert parse(main, "--x", "7")[1] == {"x": "7", "y": 1}


def test_star_args_take_the_words_as_they_are() -> None:
    def main(*words: str) -> None: ...

    assert parse(main, "a", "--b", "-c") == (["a", "--b", "-c"], {})


def test_star_args_beside_others_are_refused() -> None:
    def main(x: int, *words: str) -> None: ...

    with pytest.raises(exception.InvalidError):
        parse(main)


@pytest.mark.parametrize("hint", [list[int], dict, bytes, "int | str", Literal[1, "a"]])
def test_other_annotations_are_unparseable(hint: Any) -> None:
    def main(x: Any) -> None: ...

    main.__annotations__["x"] = hint
    with pytest.raises(exception.InvalidError, match="unparseable annotation"):
        parse(main, "--x", "1")


def test_positional_only_parameters_are_passed_by_position() -> None:
    def main(x: int, /, y: int = 2) -> None: ...

    assert parse(main, "--x", "1") == ([1], {"y": 2})


def test_what_is_missing_unknown_or_malformed_is_a_usage_error() -> None:
    def main(count: int) -> None: ...

    for words in ((), ("--count", "x"), ("--count", "1", "--other", "2"), ("--count", "1", "stray")):
        with pytest.raises(click.UsageError):
            parse(main, *words)


SCHEMA: list[Any] = [
    {"name": "word", "type": "str", "has_default": False},
    {"name": "big_one", "type": "int", "has_default": True, "default": "ff"},
    {"name": "loud", "type": "bool", "has_default": True, "default": "0"},
    {"name": "raw", "type": "bytes", "has_default": True, "default": "eA=="},
]


def with_class(method: Any, *words: str) -> dict[str, Any]:
    return signature.parse(method, words, title="windlass run x.py::M.get", parameters=SCHEMA)[1]


def test_parameters_of_a_class_are_options_beside_those_of_the_method() -> None:
    def method(times: int = 1) -> None: ...

    default = {"times": 1, "big_one": 255, "loud": False, "raw": b"x"}
    assert with_class(method, "--word", "a") == {**default, "word": "a"}
    given = with_class(method, "--word", "a", "--big-one", "-3", "--loud", "--raw", "ä", "--times", "2")
    assert given == {"word": "a", "big_one": -3, "loud": True, "raw": "ä".encode(), "times": 2}
    with pytest.raises(click.UsageError, match="word"):
        with_class(method)


def test_one_option_cannot_mean_two_things() -> None:
    def same(word: str) -> None: ...

    def words(*args: str) -> None: ...

    with pytest.raises(exception.InvalidError, match="Both the class and its method"):
        with_class(same)
    with pytest.raises(exception.InvalidError, match=r"\*args"):
        with_class(words)
