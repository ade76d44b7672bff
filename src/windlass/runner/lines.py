"""Standard output of a container whose inputs run side by side: whole lines, each with the mark of its input.

What several threads print at once must not mix within a line, and what subprocesses write belongs to no input that
could be known. So text is held back until its line is whole, or is flushed by whoever printed it, and after each line
the stream is marked as nobody's again.
"""
from __future__ import annotations

import io
import sys
import threading

from windlass.client import here
from windlass.runner import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONG = 8192  # characters of a line that are held back

attributed = True
"""Whether an input can be named. One of a batch cannot: the others have the same right to what is printed."""


def _owner() -> str:
    return (here.input_id.get() or "") if attributed else ""


class Lines(marks.Stream):
    def __init__(self, raw: io.RawIOBase, name: str, errors: str) -> None:
        super().__init__(raw, name, errors)
        self._held: dict[str, str] = {}
        self._guard = threading.RLock()  # user code may print in a handler of a signal

    def write(self, text: str) -> int:
        owner = _owner()
        with self._guard:
            text_so_far = self._held.pop(owner, "") + text
            whole, newline, rest = text_so_far.rpartition("\n")
            if len(rest) > _LONG:
                whole, newline, rest = text_so_far, "", ""
            if rest:
                self._held[owner] = rest
            if whole or newline:
                self._put(owner, whole + newline)
        return len(text)

    def flush(self) -> None:
        owner = _owner()
        with self._guard:
            self._put(owner, self._held.pop(owner, ""))
            super().flush()

    def flush_all(self) -> None:
        with self._guard:
            for owner in list(self._held):
                self._put(owner, self._held.pop(owner))
            super().flush()

    def _put(self, owner: str, text: str) -> None:
        if text:  # in one write: nothing of another thread or program can come between
            io.TextIOWrapper.write(self, f"\x1e{owner}\x1e\n{text}\x1e\x1e\n" if owner else text)


def install(*, batched: bool) -> None:
    """Replace ``sys.stdout`` and ``sys.stderr``."""
    global attributed
    attributed = not batched
    marks.install(Lines)


def flush_all() -> None:
    """Bring out what was printed without a newline, by whomever."""
    stream: Any
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, Lines):
            stream.flush_all()
