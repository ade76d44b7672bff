"""What a schedule may be: both ends refuse the same."""
from __future__ import annotations

from windlass import exception
from windlass.kit import cron

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import functions

DAY = 86400
LEAST = 1.0
"""Seconds of the shortest period."""
_MOST = 1000 * 12 * 31 * DAY
_UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")
_COUNT = 1e12


def check(schedule: functions.ScheduleSpec, *, zones: bool = True) -> None:
    """Refuse what can never be kept. ``zones`` False: the zone is somebody else's to check.

    Raises:
        InvalidError: it says why.
        UnimplementedError: there is no time zone database here.
    """
    if "cron" not in schedule:
        _check_period(schedule)
        return
    cron.parse(schedule["cron"])
    if zones:
        from windlass.kit import calendar

        calendar.zone(schedule.get("timezone", "UTC"))


def _check_period(schedule: functions.ScheduleSpec) -> None:
    for unit, count in schedule.get("period", {}).items():
        if unit not in _UNITS or not -_COUNT < count < _COUNT or (unit in ("years", "months") and count % 1):
            raise exception.InvalidError(f"a period cannot have {unit}={count!r}")
    months, seconds = length(schedule)
    least, most = months * 28 * DAY + seconds, months * 31 * DAY + seconds
    if months < 0 or least < LEAST or most > _MOST:
        raise exception.InvalidError(
            "a period lasts at least one second, and at most a thousand years", hint="Write Period(hours=1), say."
        )


def length(schedule: functions.ScheduleSpec) -> tuple[int, float]:
    """Months and seconds of a period. Days are those of UTC, which are all equally long."""
    period = schedule.get("period", {})
    months = period.get("years", 0) * 12 + period.get("months", 0)
    days = period.get("weeks", 0) * 7 + period.get("days", 0)
    seconds = days * DAY + period.get("hours", 0) * 3600 + period.get("minutes", 0) * 60 + period.get("seconds", 0)
    return int(months), seconds
