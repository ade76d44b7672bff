"""Civil time as arithmetic on numbers: zones, wall clocks, months. Nothing here knows what time it is.

A moment is seconds since the epoch. A wall clock shows a *day* (its number, 1 January of year 1 being 1) and a *second*
of that day; what it shows in a zone may come twice, or never, where clocks are changed.
"""

from __future__ import annotations

import calendar
import datetime
import functools
import zoneinfo

from windlass import exception

DAY = 86400
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class Zone:
    """How clocks are set somewhere."""

    def __init__(self, info: datetime.tzinfo) -> None:
        self._info = info

    def offset(self, moment: float) -> float:
        """Seconds that clocks there are ahead of UTC."""
        found = self._at(moment).utcoffset()
        assert found is not None
        return found.total_seconds()

    def _at(self, moment: float) -> datetime.datetime:
        return (_EPOCH + datetime.timedelta(seconds=moment)).astimezone(self._info)

    def wall(self, moment: float) -> tuple[int, float]:
        """The day and second that clocks there show."""
        shown = self._at(moment)
        second = shown.hour * 3600 + shown.minute * 60 + shown.second + shown.microsecond / 1e6
        return shown.toordinal(), second

    def moments(self, day: int, second: int) -> list[float]:
        """When clocks there show that: once, twice, or never."""
        found = (self._read(day, second, fold) for fold in (0, 1))
        return sorted({moment for moment in found if self.wall(moment) == (day, second)})

    def gap_end(self, day: int, second: int) -> float:
        """The moment at which clocks jump over what they never show."""
        before, after = int(self._read(day, second, 1)), int(self._read(day, second, 0))
        target = self.offset(after)
        while after - before > 1:
            middle = (before + after) // 2
            if self.offset(middle) == target:
                after = middle
            else:
                before = middle
        return float(after)

    def _read(self, day: int, second: int, fold: int) -> float:
        date = datetime.datetime.fromordinal(day) + datetime.timedelta(seconds=second)
        return (date.replace(tzinfo=self._info, fold=fold) - _EPOCH).total_seconds()


@functools.lru_cache(maxsize=64)
def zone(name: str) -> Zone:
    """The zone of that IANA name.

    Raises:
        InvalidError: there is none of that name.
        UnimplementedError: this machine does not know any.
    """
    if name == "UTC":
        return Zone(datetime.timezone.utc)
    info = _load(name)
    if info is None and _load("Etc/UTC") is None:
        raise exception.UnimplementedError(
            "this machine has no time zone database", hint="Install the tzdata package of its system."
        )
    if info is None:
        raise exception.InvalidError(
            f"{name[:60]!r} is no time zone", hint='Use an IANA name, like "Europe/Berlin", or "UTC".'
        )
    return Zone(info)


def _load(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # the name may be a folder, or no file's name at all
        return None


def date(day: int) -> tuple[int, int, int]:
    """Month, day of month, and day of week (Sunday is 0)."""
    found = datetime.date.fromordinal(day)
    return found.month, found.day, found.isoweekday() % 7


def added(moment: float, *, months: int, seconds: float) -> float:
    """Later by so much, in UTC. The day of the month stays, or is the month's last one. Infinite after year 9998."""
    start = _EPOCH + datetime.timedelta(seconds=moment)
    count = start.year * 12 + start.month - 1 + months
    year, month = count // 12, count % 12 + 1
    if year > 9998:
        return float("inf")
    last = calendar.monthrange(year, month)[1]
    shifted = start.replace(year=year, month=month, day=min(start.day, last))
    return (shifted - _EPOCH).total_seconds() + seconds
