"""``Cron`` and ``Period``: when a function runs by itself.

Only functions of deployed apps do, and those of apps that are served (``windlass serve``), for testing. Each run is one
input like any other, with the function's timeout and retries.

* A run does not wait for the one before: where one takes longer than the time between them, they overlap. With
  ``max_containers=1`` they queue.
* What was missed while the platform was down is run once when it is up again, not once for each time.
* A deployment that changes something begins a ``Period`` anew; a ``Cron`` that stays the same goes on. A function that
  a new version does not have any more, or has without a schedule, does not run by itself any more.
* ``windlass app run-now`` runs a function at once, and changes no plan.
"""
from __future__ import annotations

from windlass import exception
from windlass.client import here
from windlass.wire import schedules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import functions


class Schedule:
    """What ``schedule=`` takes: a ``Cron`` or a ``Period``."""

    _checked: functions.ScheduleSpec

    def __init__(self) -> None:
        raise exception.InvalidError("a Schedule cannot be made", hint="Use Cron or Period.")

    def _spec(self) -> functions.ScheduleSpec:
        return self._checked


class Cron(Schedule):
    """At the times that a line of Unix cron names. Deployments do not change them.

    Args:
        cron_string: minute, hour, day of month, month, day of week; each ``*``, a number, a range ``a-b``, these with a
            step ``/n``, or a list with commas. Months and days of the week may be written ``jan``, ``mon``. Where both
            days are restricted, either is enough.
        timezone: IANA name of the zone whose clocks count. A time of the day that they jump over comes right after the
            jump, one that they show twice comes once; where the hour is ``*``, it comes whenever the clock fits.

    Example:
        >>> @app.function(schedule=windlass.Cron("0 6 * * mon-fri", timezone="Europe/Berlin"))
        ... def wake_up(): ...

    Raises:
        InvalidError: the text or the zone is wrong.
    """

    def __init__(self, cron_string: str, timezone: str = "UTC") -> None:
        self.cron_string = cron_string
        self.timezone = timezone
        if not isinstance(timezone, str):
            raise exception.InvalidError(f"timezone must be a string, not {type(timezone).__name__}")
        self._checked = {"cron": cron_string, "timezone": timezone}
        try:
            # The clocks that count are the server's: containers need not know the zone.
            schedules.check(self._checked, zones=not here.in_container())
        except exception.UnimplementedError:
            pass  # nor need this machine; the server will refuse what it does not know

    def __repr__(self) -> str:
        return f"Cron({self.cron_string!r}, timezone={self.timezone!r})"


class Period(Schedule):
    """Again and again after so much time, counted from the latest deployment.

    The first run is one period after it. Months and years keep the day of the month, or take the month's last day.

    Args:
        years: all of them are added up; whole numbers.
        months: see ``years``.
        weeks: see ``years``.
        days: see ``years``; a day is 24 hours.
        hours: see ``years``.
        minutes: see ``years``.
        seconds: may have a fraction.

    Example:
        >>> @app.function(schedule=windlass.Period(hours=1, minutes=30))
        ... def refresh(): ...

    Raises:
        InvalidError: a value is no number, or the period is shorter than a second.
    """

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hours: int = 0,
        minutes: int = 0,
        seconds: float = 0,
    ) -> None:
        asked = {"years": years, "months": months, "weeks": weeks, "days": days, "hours": hours, "minutes": minutes}
        for name, value in asked.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise exception.InvalidError(f"{name} must be a whole number, not {value!r}")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise exception.InvalidError(f"seconds must be a number, not {seconds!r}")
        self._checked = {"period": {name: value for name, value in {**asked, "seconds": seconds}.items() if value}}
        schedules.check(self._checked)

    def __repr__(self) -> str:
        return f"Period({', '.join(f'{name}={value!r}' for name, value in self._checked['period'].items())})"
