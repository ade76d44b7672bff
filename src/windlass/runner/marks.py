"""Standard output whose lines know their input, and keep their order.

Before text of another input than the last on that stream, the line ``\\x1e<input id>\\x1e\\n`` is written (empty id: of
none). The worker takes these marks out. Only Python's own streams do so; what subprocesses write belongs to whoever
wrote last.

Two pipes have no common order. So Python's stderr goes down the pipe of stdout, between the marks ``\\x1e>2\\x1e\\n``
and ``\\x1e>1\\x1e\\n``: what a program prints arrives in the order in which it was printed.
"""
from __future__ import annotations

import io
import os
import sys

from windlass.client import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

current: str | None = None
"""The input that runs now: for threads, whose context knows of none."""


class Stream(io.TextIOWrapper):
    """Line buffered text that marks changes of input."""

    def __init__(self, raw: io.RawIOBase, name: str, errors: str) -> None:
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


class Aside(io.FileIO):
    """Descriptor 2, whose text takes the way of stdout as long as nobody has put something else there."""

    def __init__(self) -> None:
        super().__init__(2, "wb", closefd=False)
        self._way = os.dup(1)
        self._place = _place(2)

    def renew(self) -> None:
        os.dup2(1, self._way, inheritable=False)
        self._place = _place(2)

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        if _place(2) != self._place:  # redirected by user code
            return super().write(data) or 0
        sys.stdout.flush()
        rest = memoryview(b"\x1e>2\x1e\n" + bytes(data) + b"\x1e>1\x1e\n")
        while rest:
            rest = rest[os.write(self._way, rest) :]
        return len(data)


def _place(descriptor: int) -> tuple[int, int]:
    about = os.fstat(descriptor)
    return about.st_dev, about.st_ino


def install(kind: type[Stream] = Stream) -> None:
    """Replace ``sys.stdout`` and ``sys.stderr``."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    sys.stdout = sys.__stdout__ = kind(io.FileIO(1, "wb", closefd=False), "<stdout>", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = kind(Aside(), "<stderr>", "backslashreplace")  # type: ignore[misc]


def redirect(out: int, err: int) -> None:
    """Let these descriptors be the process's output from now on; the streams stay the same objects."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, Stream):
            stream._marked = None
            raw = getattr(stream.buffer, "raw", None)
            if isinstance(raw, Aside):
                raw.renew()


def quiet() -> Callable[[], None]:
    """Write no marks until the returned function is called: descriptors 1 and 2 are a terminal meanwhile."""
    before = [(s, s._marked) for s in (sys.__stdout__, sys.__stderr__) if isinstance(s, Stream)]
    for stream, _ in before:
        stream._marked = here.input_id.get() or current

    def undo() -> None:
        for stream, marked in before:
            stream._marked = marked

    return undo


def flush() -> None:
    """Bring out what user code printed without a newline."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # user code closed or replaced it
