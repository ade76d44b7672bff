"""Which range of logs the platform is asked for."""
from __future__ import annotations

import datetime

import pytest

from windlass import exception
from windlass.client import logs

DAY = 86400.0


def at(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def test_a_range_without_an_end_goes_by_the_platforms_clock_though_this_machines_is_late():
    assert logs.span(at(1000.0), None, now=10.0) == {"since": 1000.0}
    assert logs.span(at(10.0), at(20.0), now=1000.0) == {"since": 10.0, "until": 20.0}


def test_ranges_that_end_before_they_begin_or_are_too_long_are_refused():
    with pytest.raises(exception.InvalidError, match="before it begins"):
        logs.span(at(20.0), at(10.0), now=30.0)
    for until in (None, at(40 * DAY)):
        with pytest.raises(exception.InvalidError, match="35 days"):
            logs.span(at(0.0), until, now=40 * DAY)
