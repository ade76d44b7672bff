"""Sizes as people write them."""

from __future__ import annotations

import pytest

from windlass.kit import sizes


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("500MB", 500 * 10**6), ("1.5 tb", 1_500_000_000_000), ("10GiB", 10 << 30), ("20k", 20_000), ("7B", 7)],
)
def test_a_size_is_a_number_and_a_unit(text: str, number: int) -> None:
    assert sizes.parse(text) == number


@pytest.mark.parametrize("text", ["", "MB", "-5", "5iB", "1e9", "five", "5 GB more", "5PB", "٥"])
def test_what_is_no_size_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="no size such as"):
        sizes.parse(text)
