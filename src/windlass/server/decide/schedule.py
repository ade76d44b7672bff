"""When a function with a schedule runs next.

A **cron** text is read on the clocks of its zone:

* Hours that were chosen (``30 2 * * *``) are times of the day, each meant once. A time that clocks jump over comes at
  the end of the jump, several of them together once; a time that they show twice comes the first time.
* Where no hours were chosen (``*/10 * * * *``, ``0 */2 * * *``) it simply comes whenever clocks show a time that fits:
  never within a jump, twice in an hour that comes twice, so that an hourly run stays hourly.

A **period** is counted from the latest deployment, on the calendar of UTC: the n-th run is n periods after it. A month
keeps the day of the deployment where the month has it (31 January, 28 February, 31 March), so it does not drift.

What was missed (the platform was down, the machine slept) is run once, not once for each time. A run does not wait for
the one before. A new deployment begins a new period; a cron text that stays the same goes on.
"""

from __future__ import annotations

import bisect
import functools
import math

from windlass.kit import calendar, cron
from windlass.server.state import schedules as state
from windlass.wire import schedules
from windlass.wire.messages import functions

_MINUTE, _HOUR = 60, 3600
_YEARS = 60
"""29 February may have to fall on a certain day of the week: that happens within 40 years."""


def deployed(known: state.Plan | None, schedule: functions.ScheduleSpec, now: float) -> state.Plan:
    """The plan after a deployment. ``known``: the one before, if there was one."""
    if known is not None and known.schedule == schedule and "cron" in schedule:
        return known
    return state.Plan(schedule, now, following(schedule, now, now))


def fired(plan: state.Plan, now: float) -> state.Plan:
    """The plan after a run: everything up to ``now`` is done with."""
    return plan._replace(next_at=following(plan.schedule, plan.since, max(now, plan.next_at)))


def following(schedule: functions.ScheduleSpec, since: float, after: float) -> float:
    """The first time strictly after ``after``."""
    if "cron" not in schedule:
        months, seconds = schedules.length(schedule)
        return _periods(since, months, seconds, after)
    parsed, zone = _parsed(schedule["cron"]), calendar.zone(schedule.get("timezone", "UTC"))
    return _shown(parsed, zone, after) if parsed.hourly else _meant(parsed, zone, after)


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> cron.Cron:
    return cron.parse(text)


def _periods(since: float, months: int, seconds: float, after: float) -> float:
    def run(n: int) -> float:
        return calendar.added(since, months=n * months, seconds=n * seconds)

    # Whole months count as their longest, so that n is never too large.
    n = max(1, math.floor((after - since) / (months * 31 * calendar.DAY + seconds)))
    while (found := run(n)) <= after:
        n += 1
    return found


def _meant(parsed: cron.Cron, zone: calendar.Zone, after: float) -> float:
    """Times of the day, each once. Later ones of a day are never earlier moments, so they can be searched."""
    seconds = [h * _HOUR + m * _MINUTE for h in sorted(parsed.hours) for m in sorted(parsed.minutes)]
    first, _ = zone.wall(after)
    for day in range(first, first + _YEARS * 366):
        if not parsed.on(*calendar.date(day)):
            continue
        index = bisect.bisect_right(seconds, after, key=functools.partial(_once, zone, day))
        if index < len(seconds):
            return _once(zone, day, seconds[index])
    return math.inf


def _once(zone: calendar.Zone, day: int, second: int) -> float:
    found = zone.moments(day, second)
    return found[0] if found else zone.gap_end(day, second)


def _shown(parsed: cron.Cron, zone: calendar.Zone, after: float) -> float:
    """Walk with the clock; leap over what does not fit."""
    moment = math.floor(after) + 1.0
    while moment < after + _YEARS * 366 * calendar.DAY:
        day, second = zone.wall(moment)
        if second % _MINUTE:
            moment += _MINUTE - second % _MINUTE
            continue
        if not parsed.on(*calendar.date(day)):
            leap = calendar.DAY - second
        elif int(second) // _HOUR not in parsed.hours:
            leap = _HOUR - second % _HOUR
        elif (minute := int(second) % _HOUR // _MINUTE) not in parsed.minutes:
            leap = _MINUTE * (min([m for m in parsed.minutes if m > minute], default=60) - minute)
        else:
            return moment
        # Where clocks are changed on the way, only the next minute is sure to be the right step.
        changed = leap > _MINUTE and zone.offset(moment + leap) != zone.offset(moment)
        moment += _MINUTE if changed else leap
    return math.inf
