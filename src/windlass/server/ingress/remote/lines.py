"""Lines of remote users: each is a connection to the API that outlives what carries it, for a while."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from windlass import exception
from windlass.kit import clock as clock_module
from windlass.server.bus import link
from windlass.wire import tether

_log = logging.getLogger(__name__)
_KEY = re.compile(r"[A-Za-z0-9_-]{20,64}\Z")
_GREETING = 15.0  # seconds to say hello
_MOST_KEPT = 64 * 1024 * 1024  # bytes that wait for one who does not come back


class Gone(exception.NotFoundError):
    """Of this line nothing is known."""


class Line:
    """One of them. ``heard``: when anything came from its other end."""

    def __init__(self, end: link.Link, remote: str, now: float) -> None:
        self.link = end
        self.tether = tether.Tether(end, remote=remote)
        self.began = self.heard = now
        self.tether.begin()


class Lines:
    """All of them, by the secret names that clients gave them. ``make``: a protocol for a new one; ``keep``: seconds
    that a line waits for its user to come back; ``most``: how many there may be."""

    def __init__(self, make: Callable[[], link.Link], clock: clock_module.Clock, *, keep: float, most: int) -> None:
        self._make = make
        self._clock = clock
        self._keep = keep
        self._most = most
        self._lines: dict[str, Line] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def find(self, key: str, remote: str, *, is_fresh: bool) -> Line:
        """The line of that name, begun where it is ``fresh``.

        Raises:
            Gone: it is not fresh, and not here.
            InvalidError: that is no such name.
            ResourceExhaustedError: there are too many.
        """
        line = self._lines.get(key)
        if line is not None and not line.tether.over:
            line.heard = self._clock.monotonic()
            return line
        if not _KEY.match(key):
            raise exception.InvalidError("no name of a line")
        if not is_fresh:
            raise Gone("this line has ended, or the platform was restarted")
        if len(self._lines) >= self._most:
            self.sweep()
        if len(self._lines) >= self._most:
            raise exception.ResourceExhaustedError(f"the platform has {self._most} connections already")
        line = self._lines[key] = Line(self._make(), remote, self._clock.monotonic())
        return line

    def sweep(self) -> None:
        """End those whose user has not come back, or has not said who he is."""
        now = self._clock.monotonic()
        for key, line in list(self._lines.items()):
            if line.tether.over:
                del self._lines[key]
                continue
            patience = self._keep if line.link.identity is not None else _GREETING
            is_late = line.link.identity is None and now - line.began > _GREETING
            if is_late or now - line.heard > patience or line.tether.get_write_buffer_size() > _MOST_KEPT:
                _log.info("a line from %s is given up", line.tether.get_extra_info("peername"))
                line.tether.lose(None)
                del self._lines[key]

    def close(self) -> None:
        for line in self._lines.values():
            line.tether.lose(None)
        self._lines.clear()
