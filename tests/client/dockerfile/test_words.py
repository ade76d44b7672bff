"""Quotes and variables mean what they mean in Dockerfiles."""
from __future__ import annotations

import pytest
from hypothesis import given, strategies

from windlass.client.dockerfile import words

KNOWN = {"A": "one", "B": "two words", "EMPTY": "", "_x1": "under"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"), ("$A", "one"), ("${A}", "one"), ("$A$A", "oneone"), ("$AB", ""), ("${A}B", "oneB"),
        ("$_x1-", "under-"), ("$A.txt", "one.txt"), ("a$", "a$"), ("$ A", "$ A"), ("$-", "$-"), ("$1", ""),
        ("$B", "two words"), ("\\$A", "$A"), ("\\\\$A", "\\one"), ("'$A'", "$A"), ('"$A"', "one"), ('"\\$A"', "$A"),
        ('"a\\"b"', 'a"b'), ('"a\\nb"', "a\\nb"), ("a\\ b", "a b"), ("'a'\"b\"c", "abc"), ("'\\'", "\\"), ('""', ""),
        ("${A:-x}", "one"), ("${EMPTY:-x}", "x"), ("${NO:-x}", "x"), ("${EMPTY-x}", ""), ("${NO-x}", "x"),
        ("${A:+x}", "x"), ("${EMPTY:+x}", ""), ("${NO:+x}", ""), ("${EMPTY+x}", "x"), ("${NO+x}", ""),
        ("${NO:-$A}", "one"), ("${NO:-${ALSO:-${A}}}", "one"), ("${NO:-'a}b'}", "a}b"), ("${NO:-a b}c", "a bc"),
        ("${A:?gone}", "one"), ("${NO:-}", ""), ("${NO:-\\}}", "}"), ("x\\", "x\\"), ("ü$A", "üone"), ("$Aü", "oneü"),
    ],
)  # fmt: skip
def test_variables_and_quotes_are_replaced(text: str, expected: str) -> None:
    assert words.expand(text, KNOWN.get) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("'open", "single quote"), ('"open', "double quote"), ("${A", "substitution"), ("${A:-x", "has no }"),
        ("${}", "no name"), ("${A:}", "substitution"), ("${A#x}", "substitution"), ("${A%x}", "substitution"),
        ("${A/x/y}", "substitution"), ("${NO:?is needed}", "NO: is needed"), ("${NO?}", "NO: it is not set"),
        ("${EMPTY:?}", "EMPTY"), ("${a:-" * 60, "too deep"),
    ],
)  # fmt: skip
def test_what_is_malformed_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        words.expand(text, KNOWN.get)


def test_another_escape_character_leaves_the_backslash_alone() -> None:
    assert words.expand("C:\\dir\\`$A", KNOWN.get, "`") == "C:\\dir\\$A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\tc", ["a", "b", "c"]), ("'a b' c", ["'a b'", "c"]), ('"a \' b"', ['"a \' b"']),
        ("a\\ b c", ["a\\ b", "c"]),
        ("", []), ("  ", []), ("a=\"b c\"d", ['a="b c"d']), ("'open end", ["'open end"]), ("a\\", ["a\\"]),
        ("''", ["''"]),
    ],
)  # fmt: skip
def test_words_end_at_blanks_outside_of_quotes(text: str, expected: list[str]) -> None:
    assert words.split(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("'$A' \"$A\"\n", "'one' \"one\"\n"), ("\\$A \\n", "\\$A \\n"), ("it's ${NO:-'x'}", "it's 'x'")],
)
def test_text_keeps_its_own_quotes_and_escapes(text: str, expected: str) -> None:
    assert words.substitute(text, KNOWN.get) == expected


@given(strategies.text(alphabet="$A{}:-+?'\"\\ `xB"))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    for escape in "\\`":
        words.split(text, escape)
        for replaced in (words.expand, words.substitute):
            try:
                assert isinstance(replaced(text, KNOWN.get, escape), str)
            except ValueError as exc:
                assert str(exc)


@given(strategies.text(strategies.characters(exclude_characters="$\\'\"")))
def test_text_without_special_characters_stays(text: str) -> None:
    assert words.expand(text, KNOWN.get) == text == words.substitute(text, KNOWN.get)
