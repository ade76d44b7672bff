"""The five fields of Unix cron: which minutes, hours and days a line of text names.

    minute (0-59)  hour (0-23)  day of month (1-31)  month (1-12, jan-dec)  day of week (0-7, sun-sat; 0 and 7: Sunday)

A field is ``*``, a number or name, a range ``a-b``, any of these with a step ``/n`` (a number with a step counts up to
the field's end), or a list of such parts with commas. Where both days are restricted, either is enough; a field that
begins with ``*`` restricts nothing in this sense, also with a step.

What the text means on the clocks of a zone is not decided here. Part of what containers import: no other imports.
"""
from __future__ import annotations

from windlass import exception

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MAX_LENGTH = 1000
_DAYS_OF = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Cron:
    """What the text says. ``weekdays`` count from Sunday, 0. ``hourly``: no hours were chosen.

    ``either``: a date needs to be one of ``days`` or of ``weekdays``, not both.
    """

    __slots__ = ("days", "either", "hourly", "hours", "minutes", "months", "weekdays")

    def __init__(self, minutes: _Field, hours: _Field, days: _Field, months: _Field, weekdays: _Field) -> None:
        self.minutes, self.hours, self.months = minutes.values, hours.values, months.values
        self.days = days.values
        self.weekdays = frozenset(value % 7 for value in weekdays.values)
        self.either = not days.free and not weekdays.free
        self.hourly = hours.free or len(hours.values) == 24

    def on(self, month: int, day: int, weekday: int) -> bool:
        """Whether that date is one of its dates."""
        if month not in self.months:
            return False
        if self.either:
            return day in self.days or weekday in self.weekdays
        return day in self.days and weekday in self.weekdays

    @property
    def possible(self) -> bool:
        """Whether there ever is such a date."""
        return self.either or any(min(self.days) <= _DAYS_OF[month - 1] for month in self.months)


class _Field:
    """The values of one field. ``free``: it begins with ``*``."""

    __slots__ = ("free", "values")

    def __init__(self, text: str, what: str, low: int, high: int, names: tuple[str, ...] = ()) -> None:
        self.free = text.startswith("*")
        values: set[int] = set()
        for part in text.split(","):
            try:
                values.update(_part(part, low, high, names))
            except ValueError as exc:
                raise exception.InvalidError(f"{what} {text!r} of the cron text: {exc}") from None
        self.values = frozenset(values)


def parse(text: str) -> Cron:
    """What ``text`` says. Raises ``InvalidError``, also for what never comes, like 30 February."""
    if not isinstance(text, str):
        raise exception.InvalidError(f"the cron text must be a string, not {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise exception.InvalidError(f"the cron text is longer than {MAX_LENGTH:,} characters")
    fields = text.split()
    if len(fields) != 5:
        alias = _ALIASES.get(text.strip().lower())
        hint = f'Write "{alias}".' if alias else "They are: minute, hour, day of month, month, day of week."
        raise exception.InvalidError(f"the cron text {text!r} has {len(fields)} fields, not 5", hint=hint)
    cron = Cron(
        _Field(fields[0], "minute", 0, 59),
        _Field(fields[1], "hour", 0, 23),
        _Field(fields[2], "day of month", 1, 31),
        _Field(fields[3], "month", 1, 12, MONTHS),
        _Field(fields[4], "day of week", 0, 7, WEEKDAYS),
    )
    if not cron.possible:
        raise exception.InvalidError(f"the cron text {text!r} names a date that never comes")
    return cron


def _part(text: str, low: int, high: int, names: tuple[str, ...]) -> range:
    span, slash, step_text = text.partition("/")
    step = _number(step_text, "the step", 1, high) if slash else 1
    if span == "*":
        return range(low, high + 1, step)
    first_text, dash, last_text = span.partition("-")
    first = _value(first_text, low, high, names)
    if not dash:
        return range(first, high + 1, step) if slash else range(first, first + 1)
    last = _value(last_text, low, high, names)
    if last == 0 and first > 0 and names is WEEKDAYS:
        last = 7  # fri-sun
    if last < first:
        raise ValueError(f"the range {span!r} runs backwards")
    return range(first, last + 1, step)


def _value(text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    name = text.lower()
    if name in names:
        return names.index(name) + (1 if names is MONTHS else 0)
    return _number(text, repr(text), low, high)


def _number(text: str, what: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no number" if text else "a part of it is empty")
    value = int(text[:9])
    if not low <= value <= high:
        raise ValueError(f"{what} must be between {low} and {high}")
    return value
