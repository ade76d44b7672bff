"""Standard output whose lines know their input.

Before text of another input than the last on that stream, the line ``\\x1e<input id>\\x1e\\n`` is written (empty id: of
none). The worker takes these marks out. Only Python's own streams do so; what subprocesses write belongs to whoever
wrote last.
"""
from __future__ import annotations

import io
import sys

from windlass.client import here

current: str | None = None
"""The input that runs now: for threads, whose context knows of none."""


class Stream(io.TextIOWrapper):
    """Line buffered text that marks changes of input."""

    def __init__(self, descriptor: int, name: str, errors: str) -> None:
        raw = io.FileIO(descriptor, "wb", closefd=False)
        super().__init__(io.BufferedWriter(raw), "utf-8", errors, "\n", line_buffering=True)
        self._marked: str | None = None
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def write(self, text: str) -> int:
        owner = here.input_id.get() or current
        if owner != self._marked and text:
            self._marked = owner
            # One write: nothing of another thread can come between.
            super().write(f"\x1e{owner or ''}\x1e\n{text}")
            return len(text)
        return super().write(text)


def install() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr``."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    sys.stdout = sys.__stdout__ = Stream(1, "<stdout>", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = Stream(2, "<stderr>", "backslashreplace")  # type: ignore[misc]


def flush() -> None:
    """Bring out what user code printed without a newline."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # user code closed or replaced it
