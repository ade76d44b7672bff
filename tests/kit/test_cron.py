"""What lines of cron say, and which are refused."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass import exception
from windlass.kit import cron


def days(text: str) -> tuple[set[int], set[int], bool]:
    parsed = cron.parse(text)
    return set(parsed.days), set(parsed.weekdays), parsed.either


def test_a_field_is_a_star_numbers_ranges_steps_and_lists_of_them():
    parsed = cron.parse("*/20 0,6-8,22 1-10/3 jan,jul-SEP *")
    assert parsed.minutes == {0, 20, 40}
    assert parsed.hours == {0, 6, 7, 8, 22}
    assert parsed.days == {1, 4, 7, 10}
    assert parsed.months == {1, 7, 8, 9}
    assert parsed.weekdays == set(range(7))


def test_a_number_with_a_step_counts_up_to_the_end_of_the_field():
    assert cron.parse("50/4 20/2 * * *").minutes == {50, 54, 58}
    assert cron.parse("50/4 20/2 * * *").hours == {20, 22}


@pytest.mark.parametrize("text", ["0", "7", "sun", "SUN", "7/7"])
def test_sunday_has_three_names(text):
    assert cron.parse(f"0 0 * * {text}").weekdays == {0}


@pytest.mark.parametrize(("text", "expected"), [("fri-sun", {5, 6, 0}), ("5-7", {5, 6, 0}), ("sun-tue", {0, 1, 2})])
def test_a_range_of_days_may_end_on_sunday(text, expected):
    assert cron.parse(f"0 0 * * {text}").weekdays == expected


def test_where_both_days_are_restricted_either_is_enough():
    either = cron.parse("0 0 13 * fri")
    assert either.on(1, 13, 2) and either.on(1, 20, 5) and not either.on(1, 20, 4)
    both = cron.parse("0 0 */2 * fri")
    assert both.on(1, 13, 5) and not both.on(1, 13, 2) and not both.on(1, 20, 5)
    assert cron.parse("0 0 13 * *").on(1, 13, 2) and not cron.parse("0 0 13 * *").on(1, 12, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("60 * * * *", "between 0 and 59"),
        ("* 24 * * *", "between 0 and 23"),
        ("* * 0 * *", "between 1 and 31"),
        ("* * 32 * *", "between 1 and 31"),
        ("* * * 13 *", "between 1 and 12"),
        ("* * * * 8", "between 0 and 7"),
        ("*/0 * * * *", "the step"),
        ("*/x * * * *", "no number"),
        ("*/ * * * *", "empty"),
        ("30-10 * * * *", "backwards"),
        ("1,,2 * * * *", "empty"),
        ("-5 * * * *", "empty"),
        ("1-2-3 * * * *", "no number"),
        ("+1 * * * *", "no number"),
        ("1.5 * * * *", "no number"),
        ("\u0661 * * * *", "no number"),
        ("mon * * * *", "no number"),
        ("* * * * jan", "no number"),
        ("* * L * *", "no number"),
        ("* * ? * *", "no number"),
        ("0 0 30 feb *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("9" * 5000 + " * * * *", "longer"),
    ],
)
def test_what_is_no_cron_text_is_refused_with_the_reason(text, why):
    with pytest.raises(exception.InvalidError, match=why):
        cron.parse(text)


def test_short_names_are_refused_with_the_fields_to_write():
    with pytest.raises(exception.InvalidError) as caught:
        cron.parse("@daily")
    assert '"0 0 * * *"' in caught.value.hint


def test_29_february_comes_and_so_does_30_february_or_a_monday():
    assert cron.parse("0 0 29 2 *").possible
    assert cron.parse("0 0 30 2 mon").possible


@given(st.text(alphabet="0123456789*/-, jansun?#LW@", max_size=30))
def test_any_text_is_read_or_refused_and_nothing_else(text):
    try:
        parsed = cron.parse(text)
    except exception.InvalidError:
        return
    assert parsed.minutes and parsed.hours and parsed.days and parsed.months and parsed.weekdays
    assert parsed.minutes <= set(range(60)) and parsed.weekdays <= set(range(7))
