"""Tables: a frame on a terminal, blanks between the columns where nobody draws.

    ╭────────┬───────────╮
    │ App ID │ State     │
    ├────────┼───────────┤
    │ ap-3kT │ running   │
    ╰────────┴───────────╯

Drawn here and not by the terminal library, whose import would cost more than all else that a list needs. Nothing that a
cell holds can move the cursor: names come from others.
"""
from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence

_WORD = 16  # characters that a column of words gets where there is little room
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[+-]\d\d:\d\d$")  # on a terminal: local, and short
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
Cells = Sequence[str]


def is_terminal() -> bool:
    """Whether to draw: stdout is a terminal that can."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def show(columns: Cells, rows: Sequence[Cells], spare: Cells = ()) -> None:
    """Rows under headers. ``spare``: titles of columns that a terminal without room does without, the first first."""
    if not is_terminal():
        widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
        for row in [columns, *rows]:
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    import shutil

    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in drawn(columns, rows, spare, shutil.get_terminal_size().columns, styled=styled):
        print(line)


def drawn(columns: Cells, rows: Sequence[Cells], spare: Cells, room: int, *, styled: bool) -> Iterator[str]:
    """The lines of a framed table in ``room`` characters, and what had no room in it."""
    bold, dim, plain = (_BOLD, _DIM, _PLAIN) if styled else ("", "", "")
    shown = [[_TIME.sub(r"\1 \2", _harmless(cell)) for cell in row] for row in rows]
    places, left_out = fitting(columns, shown, spare, room)
    titles = [columns[place] for place in places]
    cells = [[row[place] for place in places] for row in shown]
    widths = _widths(titles, cells, room - 3 * len(titles) - 1)

    def rule(left: str, between: str, right: str) -> str:
        return left + between.join("─" * (width + 2) for width in widths) + right

    yield rule("╭", "┬", "╮")
    yield from _framed(titles, widths, bold, plain)
    yield rule("├", "┼", "┤")
    for row in cells:
        yield from _framed(row, widths, "", "")
    yield rule("╰", "┴", "╯")
    if left_out:
        for line in folds(f"There is no room for {', '.join(left_out)}; --json shows all.", room):
            yield f"{dim}{line}{plain}"


def fitting(columns: Cells, rows: Sequence[Cells], spare: Cells, room: int) -> tuple[list[int], list[str]]:
    """Which columns to show in ``room`` characters, as places; and the titles of those that are left out."""
    needs = {}
    for place, title in enumerate(columns):
        words = [word for row in [columns, *rows] for word in row[place].split()]
        longest = max(map(len, words), default=0)
        needs[title] = longest if title.endswith(" ID") else min(longest, _WORD)
    left_out: list[str] = []
    for title in spare:
        if sum(needs.values()) + 3 * len(needs) + 1 <= room:
            break
        if needs.pop(title, None) is not None:
            left_out.append(title)
    return [place for place, title in enumerate(columns) if title in needs], left_out


def _widths(titles: Cells, rows: Sequence[Cells], room: int) -> list[int]:
    """As wide as what is in them; where that is too much, the widest give way. Ids are there to be copied."""
    widths = [max(_width(row[place]) for row in [titles, *rows]) for place in range(len(titles))]
    yielding = [place for place, title in enumerate(titles) if not title.endswith(" ID")]
    while sum(widths) > room and yielding:
        widest = max(yielding, key=widths.__getitem__)
        if widths[widest] <= 2:
            break
        widths[widest] -= 1
    return widths


def _framed(cells: Cells, widths: Sequence[int], begin: str, end: str) -> Iterator[str]:
    """One row: as many lines as its highest cell has."""
    folded = [list(folds(cell, width)) for cell, width in zip(cells, widths, strict=True)]
    for number in range(max(map(len, folded))):
        pieces = []
        for lines, width in zip(folded, widths, strict=True):
            text = lines[number] if number < len(lines) else ""
            pieces.append(f" {begin}{text}{end}{' ' * (width - _width(text))} ")
        yield f"│{'│'.join(pieces)}│"


def folds(text: str, width: int) -> Iterator[str]:
    """``text`` in lines of that width, between words where that can be."""
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if _width(joined) <= width:
            line = joined
            continue
        if line:
            yield line
        while _width(word) > width:
            cut = next(at for at in range(len(word), 0, -1) if at == 1 or _width(word[:at]) <= width)
            yield word[:cut]
            word = word[cut:]
        line = word
    yield line


def _width(text: str) -> int:
    """Places on a terminal: some letters take two, marks on others none."""
    if text.isascii():
        return len(text)
    import unicodedata

    marks = sum(1 for letter in text if unicodedata.combining(letter) or letter in "\u200b\u200d\ufe0f")
    wide = sum(1 for letter in text if unicodedata.east_asian_width(letter) in "WF")
    return len(text) + wide - marks


def _harmless(text: str) -> str:
    """One line, without what a terminal would obey."""
    flat = " ".join(text.splitlines()) if "\n" in text or "\r" in text else text
    return flat if flat.isprintable() else "".join(letter if letter.isprintable() else "�" for letter in flat)
