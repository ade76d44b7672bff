"""What a step prints, as people can read it: whole lines of plain text, and not more of them than anybody reads.

Programs print for terminals: progress bars that draw over themselves, colours, now and then a binary file. Here a line
keeps its last state, colours go, and what is no text becomes U+FFFD. The first ``LIMIT`` bytes pass as they come; of
what follows only the end is kept and passed on when the step has ended, so memory and log stay small however much a
step prints.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Log = Callable[[str], None]

LIMIT = 4 * 1024 * 1024
"""Bytes of one layer's output that pass as they come."""
TAIL = 64 * 1024
"""Characters of the end that follow, where there was more."""

_SHORTEST_HIDDEN = 8  # characters; shorter values stand in too many innocent words
_LONGEST_LINE = 4096  # characters that wait for their line's end
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_ESCAPES = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # colours, movements of the cursor
    "|\x1b[\\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)?"  # titles, links
    "|\x1b[ -/]*[0-~]?"
)
_MARKED = re.compile("\ufffd{9,}")  # so much binary in a row says nothing more than a little of it


class Lines:
    """Passes output on in whole lines, however it arrives; leaving the block passes on the rest.

    ``without``: beginnings of lines to leave out.
    """

    def __init__(self, log: Log, *, without: tuple[str, ...] = ()) -> None:
        self._log = log
        self._without = without
        self._rest = ""
        self._left = LIMIT
        self._cut = False
        self._tail = ""
        self._beyond = 0
        self._hidden: list[str] = []

    def hide(self, values: Iterable[str]) -> None:
        """Show ``***`` wherever one of these values is printed: passwords, tokens."""
        parts = {part for value in values for part in value.splitlines() if len(part) >= _SHORTEST_HIDDEN}
        self._hidden = sorted(parts, key=len, reverse=True)

    def __call__(self, text: str) -> None:
        if self._cut:
            self._later(text)
            return
        whole, newline, rest = (self._rest + text).rpartition("\n")
        self._rest = _last_state(rest)
        if newline:
            self._pass([line for line in whole.split("\n") if not line.lstrip().startswith(self._without)])
        if len(self._rest) > _LONGEST_LINE:
            back = len(self._hidden[0]) if self._hidden else 0  # a hidden value may go on in what comes
            rest, self._rest = self._rest[: len(self._rest) - back], self._rest[len(self._rest) - back :]
            self._pass([rest])

    def _masked(self, text: str) -> str:
        for value in self._hidden:
            text = text.replace(value, "***")
        return text

    def _pass(self, lines: list[str]) -> None:
        if not lines:
            return
        text = self._masked(readable("\n".join(lines))) + "\n"
        data = text.encode()
        if len(data) <= self._left:
            self._left -= len(data)
            self._log(text)
            return
        kept = data[: self._left].decode(errors="ignore").rpartition("\n")[0]
        self._cut = True
        note = f"[{LIMIT // 2**20} MiB printed: the rest is left out, but for its end]\n"
        self._log(f"{kept}\n{note}" if kept else note)
        rest, self._rest = self._rest, ""
        self._later(text[len(kept) :].lstrip("\n") + rest)

    def _later(self, text: str) -> None:
        self._beyond += len(text)
        self._tail = (self._tail + text)[-TAIL:]

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rest:
            rest, self._rest = self._rest, ""
            self._pass([rest])
        if not self._beyond:
            return
        whole = self._beyond <= TAIL
        tail = self._tail if whole else self._tail.partition("\n")[2] or self._tail
        note = "" if whole else f"[about {_size(self._beyond - len(tail))} left out; the end:]\n"
        shown = self._masked(readable(tail))
        self._log(note + shown + ("" if shown.endswith("\n") else "\n"))


def readable(text: str) -> str:
    """``text`` without what only a terminal understands: each line in its last state, odd characters as U+FFFD.

    Example:
        >>> readable("10 %\\r100 %\\r\\n\\x1b[32mdone\\x1b[0m")
        '100 %\\ndone'
    """
    if _ODD.search(text) is None:
        return text
    plain = _ESCAPES.sub("", text)
    lines = (_last_state(line).rstrip("\r") for line in plain.split("\n"))
    return _MARKED.sub("\ufffd" * 8 + "…", _ODD.sub("\ufffd", "\n".join(lines)))


def _last_state(line: str) -> str:
    """What is to be seen of a line after its carriage returns. Those at its very end stay: a line end may follow."""
    drawn = line.rstrip("\r")
    return line[drawn.rfind("\r") + 1 :] if "\r" in drawn else line


def _size(characters: int) -> str:
    return f"{characters / 2**20:,.1f} MiB" if characters >= 2**20 else f"{characters / 2**10:,.0f} KiB"
