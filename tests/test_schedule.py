"""``Cron`` and ``Period`` in the SDK: refused at the earliest moment."""
from __future__ import annotations

import pytest

import windlass
from windlass import exception
from windlass.client import here


def test_both_show_what_they_are():
    assert repr(windlass.Cron("0 6 * * mon", timezone="Asia/Tokyo")) == "Cron('0 6 * * mon', timezone='Asia/Tokyo')"
    assert repr(windlass.Period(hours=1, seconds=0.5)) == "Period(hours=1, seconds=0.5)"


@pytest.mark.parametrize("arguments", [("61 * * * *",), ("* * * * *", "Mars/Base"), ("* * *",), (5,), ("* * * * *", 1)])
def test_bad_cron_texts_and_zones_are_refused_when_they_are_written(arguments):
    with pytest.raises(exception.InvalidError):
        windlass.Cron(*arguments)


@pytest.mark.parametrize(
    "units", [{}, {"days": 1.5}, {"hours": True}, {"seconds": "5"}, {"seconds": 0.1}, {"days": -1}]
)
def test_bad_periods_are_refused_when_they_are_written(units):
    with pytest.raises(exception.InvalidError):
        windlass.Period(**units)


def test_containers_need_not_know_the_zone(monkeypatch):
    monkeypatch.setattr(here, "plan", {"app": {}})
    assert windlass.Cron("* * * * *", timezone="Mars/Base").timezone == "Mars/Base"


def test_a_machine_without_zones_leaves_them_to_the_server(monkeypatch):
    from windlass.kit import calendar

    calendar.zone.cache_clear()
    monkeypatch.setattr(calendar, "_load", lambda name: None)
    assert windlass.Cron("* * * * *", timezone="Europe/Berlin").timezone == "Europe/Berlin"


def decorated(raw_f, **options):
    return windlass.App("a").function(serialized=True, **options)(raw_f)


def test_a_scheduled_function_must_need_no_arguments():
    period = windlass.Period(days=1)
    for fine in (lambda: 1, lambda x=1, *rest, **more: 1):
        assert decorated(fine, schedule=period, name="f")._options.schedule == {"period": {"days": 1}}
    for needy in (lambda x: 1, lambda *, x: 1, lambda x, y=1: 1):
        with pytest.raises(exception.InvalidError, match="needs arguments: x"):
            decorated(needy, schedule=period, name="f")


def test_what_is_no_schedule_is_refused():
    for wrong in ("* * * * *", 5, windlass.Period):
        with pytest.raises(exception.InvalidError, match="a Cron or a Period"):
            decorated(lambda: 1, schedule=wrong, name="f")
    with pytest.raises(exception.InvalidError, match="generator"):
        decorated(lambda: (yield), schedule=windlass.Period(days=1), name="f")


def test_classes_have_no_schedule():
    with pytest.raises(TypeError, match="schedule"):
        windlass.App("a").cls(schedule=windlass.Period(days=1))  # type: ignore[call-arg]
