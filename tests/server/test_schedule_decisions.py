"""When scheduled functions run next: against an independent brute force, and across changes of the clocks."""
from __future__ import annotations

import datetime
import functools
import itertools
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass import exception
from windlass.kit import cron
from windlass.server.decide import schedule
from windlass.server.state import schedules as state
from windlass.wire import schedules

UTC = datetime.timezone.utc
ZONES = [
    "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kolkata",
    "Africa/Casablanca", "America/Havana", "Pacific/Chatham", "Asia/Beirut",
]  # fmt: skip


def at(text: str, zone: str = "UTC") -> float:
    """``2026-03-08 01:30`` on clocks there (the first time, where it comes twice)."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()


def shown(moment: float, zone: str = "UTC") -> str:
    return datetime.datetime.fromtimestamp(moment, zoneinfo.ZoneInfo(zone)).isoformat(" ", "minutes")


def runs(text: str, zone: str, begin: float, end: float) -> list[float]:
    found, moment = [], begin
    spec = {"cron": text, "timezone": zone}
    while (moment := schedule.following(spec, begin, moment)) <= end:
        found.append(moment)
    return found


@functools.cache
def clock(zone: str) -> tuple[dict[datetime.datetime, list[int]], list[tuple[Any, ...]]]:
    """What clocks there show in each minute of 2026: when each time comes, and where they jump."""
    info, minute = zoneinfo.ZoneInfo(zone), datetime.timedelta(minutes=1)
    times: dict[datetime.datetime, list[int]] = {}
    jumps, before = [], None
    for moment in range(int(at("2026-01-01 00:00")), int(at("2027-01-01 00:00")), 60):
        wall = datetime.datetime.fromtimestamp(moment, info).replace(tzinfo=None)
        times.setdefault(wall, []).append(moment)
        if before is not None and wall - before > minute:
            jumps.append((before, wall, moment))
        before = wall
    return times, jumps


@functools.cache
def brute(text: str, zone: str) -> list[float]:
    """The runs of 2026, from what clocks show in each of its minutes."""
    parsed, (times, jumps), found = cron.parse(text), clock(zone), set()
    day = datetime.datetime(2025, 12, 30)
    while (day := day + datetime.timedelta(1)).year < 2027 or day.day < 3:
        if not parsed.on(day.month, day.day, day.isoweekday() % 7):
            continue
        for hour in parsed.hours:
            for minute in parsed.minutes:
                wall = day.replace(hour=hour, minute=minute)
                moments = times.get(wall, [])
                found.update(moments if parsed.hourly else moments[:1])
                if not parsed.hourly:
                    found.update(moment for before, after, moment in jumps if before < wall < after)
    return sorted(found)


YEAR = ["30 2 * * *", "15,45 1-3 * * *", "0 0 * * *", "5 0 29 2 *", "0 12 1,15 * fri", "59 23 * * sun"]
DENSE = ["*/15 * * * *", "0 * * * *", "0 */2 * * *", "*/30 0,1,2,3 * * *", "0 0-23 * * *"]
"""Of those a week around each change is compared, and one without."""


def changes(zone: str) -> list[float]:
    """When clocks there are changed in 2026."""
    info = zoneinfo.ZoneInfo(zone)
    hours = range(int(at("2026-01-01 00:00")), int(at("2027-01-01 00:00")), 3600)
    offsets = [datetime.datetime.fromtimestamp(moment, info).utcoffset() for moment in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana"])
def test_a_year_with_both_changes_is_as_brute_force_says(zone):
    assert clock(zone)[1], "clocks there are changed"
    begin, end = at("2026-01-01 00:00") - 1, at("2027-01-01 00:00") - 1
    for text in YEAR:
        assert runs(text, zone, begin, end) == brute(text, zone), text
    assert len(changes(zone)) == 2
    for text in DENSE:
        for middle in (*changes(zone), at("2026-07-15 12:00")):
            begin, end = middle - 3.5 * 86400 - 1, middle + 3.5 * 86400 - 1
            expected = [moment for moment in brute(text, zone) if begin < moment <= end]
            assert len(expected) > 20 and runs(text, zone, begin, end) == expected, text


def test_a_time_that_clocks_jump_over_comes_once_right_after_the_jump():
    begin, end = at("2026-03-08 00:00", "America/New_York"), at("2026-03-09 12:00", "America/New_York")
    for text in ("30 2 * * *", "0,15,30 2 * * *", "*/10 2 * * *"):
        found = [shown(m, "America/New_York") for m in runs(text, "America/New_York", begin, end)]
        assert found[0] == "2026-03-08 03:00-04:00" and not found[1].startswith("2026-03-08"), text
    both = [shown(m, "America/New_York") for m in runs("0 2,3 * * *", "America/New_York", begin, end)]
    assert both == ["2026-03-08 03:00-04:00", "2026-03-09 02:00-04:00", "2026-03-09 03:00-04:00"]


def test_a_time_that_comes_twice_runs_the_first_time_only():
    begin, end = at("2026-11-01 00:00", "America/New_York"), at("2026-11-01 23:00", "America/New_York")
    found = runs("30 1 * * *", "America/New_York", begin, end)
    assert [shown(m, "America/New_York") for m in found] == ["2026-11-01 01:30-04:00"]


def test_an_hourly_run_stays_hourly_over_both_changes():
    for day in ("2026-03-08", "2026-11-01"):
        begin = at(f"{day} 00:00", "America/New_York")
        found = runs("0 * * * *", "America/New_York", begin, begin + 20 * 3600)
        assert [b - a for a, b in itertools.pairwise(found)] == [3600.0] * 19


def test_a_day_that_a_zone_left_out_is_made_up_for_when_the_next_one_begins():
    begin, end = at("2011-12-29 13:00", "Pacific/Apia"), at("2011-12-31 23:00", "Pacific/Apia")
    found = [shown(m, "Pacific/Apia") for m in runs("0 12 * * *", "Pacific/Apia", begin, end)]
    assert found == ["2011-12-31 00:00+14:00", "2011-12-31 12:00+14:00"]


def test_leap_days_are_found_years_ahead():
    assert shown(schedule.following({"cron": "0 0 29 2 *"}, 0, at("2096-03-01 00:00"))).startswith("2104-02-29")
    spec = {"cron": "0 0 29 2 */7"}  # both must fit: a Sunday
    assert shown(schedule.following(spec, 0, at("2026-01-01 00:00"))).startswith("2032-02-29")


FIELD = st.one_of(
    st.just("*"), st.sampled_from(["*/2", "*/7", "*/15"]), st.integers(0, 23).map(str),
    st.tuples(st.integers(0, 11), st.integers(12, 23)).map("{0[0]}-{0[1]}".format),
)  # fmt: skip
DAYS = st.one_of(st.just("*"), st.integers(1, 28).map(str), st.just("*/9"))
WEEKDAYS = st.one_of(st.just("*"), st.sampled_from(["mon-fri", "0", "*/2", "sat,sun"]))
MOMENTS = st.floats(at("1990-01-01 00:00"), at("2037-01-01 00:00"))


@settings(deadline=None, max_examples=100)
@given(FIELD, FIELD, DAYS, WEEKDAYS, st.sampled_from(ZONES), MOMENTS, st.floats(0, 1e6))
def test_the_next_run_is_later_fits_and_does_not_come_earlier_when_asked_later(
    minute, hour, day, weekday, zone, after, more
):
    spec = {"cron": f"{minute} {hour} {day} * {weekday}", "timezone": zone}
    parsed = cron.parse(spec["cron"])
    found = schedule.following(spec, 0, after)
    assert found > after
    assert schedule.following(spec, 0, after + more) >= found
    assert schedule.following(spec, 0, (after + found) / 2) == found or (after + found) / 2 == found
    local = datetime.datetime.fromtimestamp(found, zoneinfo.ZoneInfo(zone))
    fits = local.minute in parsed.minutes and local.hour in parsed.hours
    fits = fits and parsed.on(local.month, local.day, local.isoweekday() % 7)
    earlier = datetime.datetime.fromtimestamp(found - 1, zoneinfo.ZoneInfo(zone))
    jumped = local.replace(tzinfo=None) - earlier.replace(tzinfo=None) > datetime.timedelta(seconds=1)
    assert fits or (jumped and not parsed.hourly)


def period(**units: float) -> dict:
    return {"period": units}


def periods(since: str, count: int, **units: float) -> list[str]:
    found, begin = [], at(since)
    moment = begin
    for _ in range(count):
        moment = schedule.following(period(**units), begin, moment)
        found.append(shown(moment)[:16])
    return found


def test_a_month_keeps_the_day_or_takes_the_months_last_one():
    found = periods("2027-10-31 08:30", 6, months=1)
    assert [one[:10] for one in found] == [
        "2027-11-30", "2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30",
    ]  # fmt: skip
    assert all(one.endswith("08:30") for one in found)
    assert [one[:10] for one in periods("2028-02-29 00:00", 4, years=1)] == [
        "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29",
    ]  # fmt: skip


def test_parts_of_a_period_add_up():
    found = periods("2026-01-01 00:00", 2, weeks=1, days=1, hours=2, minutes=3)
    assert found == ["2026-01-09 02:03", "2026-01-17 04:06"]
    assert periods("2026-01-01 00:00", 2, months=1, days=-1) == ["2026-01-31 00:00", "2026-02-27 00:00"]


UNITS = st.fixed_dictionaries(
    {"years": st.integers(0, 3), "months": st.integers(0, 20), "weeks": st.integers(0, 5), "days": st.integers(0, 40),
     "seconds": st.floats(1, 1e6)}
)  # fmt: skip


@given(UNITS, MOMENTS, st.floats(0, 3e8))
def test_periods_are_later_monotone_and_a_multiple(units, since, passed):
    after = since + passed
    found = schedule.following(period(**units), since, after)
    assert found > after and schedule.following(period(**units), since, found - 1e-3) >= found - 1e-3
    months, seconds = schedules.length(period(**units))
    assert found - after <= months * 31 * 86400 + seconds + 3 * 86400 + 1e-3
    assert schedule.following(period(**units), since, found) > found


@pytest.mark.parametrize(
    "units",
    [{}, {"seconds": 0}, {"seconds": 0.5}, {"seconds": -5}, {"months": -1, "days": 60}, {"months": 1, "days": -28},
     {"years": 1001}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"days": 1e300}, {"fortnights": 1}],
)  # fmt: skip
def test_periods_that_cannot_be_kept_are_refused(units):
    with pytest.raises(exception.InvalidError, match="period"):
        schedules.check(period(**units))


def test_unknown_zones_are_refused():
    for name in ("Nowhere/Town", "", "../etc/passwd", "/etc/passwd", "Europe", "x" * 500, "a\0b", "europe/berlin "):
        with pytest.raises(exception.InvalidError, match="no time zone"):
            schedules.check({"cron": "* * * * *", "timezone": name})


def test_a_machine_without_zones_says_so_and_knows_utc(monkeypatch):
    from windlass.kit import calendar

    calendar.zone.cache_clear()
    monkeypatch.setattr(calendar, "_load", lambda name: None)
    with pytest.raises(exception.UnimplementedError, match="no time zone database"):
        schedules.check({"cron": "* * * * *", "timezone": "Europe/Berlin"})
    schedules.check({"cron": "* * * * *", "timezone": "UTC"})


def test_a_deployment_resets_periods_and_not_cron():
    daily = {"cron": "0 6 * * *", "timezone": "UTC"}
    known = schedule.deployed(None, daily, at("2026-01-01 05:00"))
    assert shown(known.next_at)[:16] == "2026-01-01 06:00"
    # Even one whose time has just come is not lost.
    assert schedule.deployed(known, daily, at("2026-01-01 06:00") + 0.5) == known
    other = schedule.deployed(known, {**daily, "cron": "0 7 * * *"}, at("2026-01-01 06:30"))
    assert shown(other.next_at)[:16] == "2026-01-01 07:00"
    hourly = schedule.deployed(None, period(hours=1), at("2026-01-01 05:00"))
    again = schedule.deployed(hourly, period(hours=1), at("2026-01-01 05:50"))
    assert shown(again.next_at)[:16] == "2026-01-01 06:50"


def test_what_was_missed_is_run_once():
    daily = state.Plan({"cron": "0 6 * * *", "timezone": "UTC"}, 0.0, at("2026-01-01 06:00"))
    assert shown(schedule.fired(daily, at("2026-01-09 12:00")).next_at)[:16] == "2026-01-10 06:00"
    hourly = state.Plan(period(hours=1), at("2026-01-01 00:20"), at("2026-01-01 01:20"))
    assert shown(schedule.fired(hourly, at("2026-01-09 12:00")).next_at)[:16] == "2026-01-09 12:20"


def test_a_clock_that_is_set_back_repeats_nothing():
    daily = state.Plan({"cron": "0 6 * * *", "timezone": "UTC"}, 0.0, at("2026-01-01 06:00"))
    assert shown(schedule.fired(daily, at("2026-01-01 05:00")).next_at)[:16] == "2026-01-02 06:00"
