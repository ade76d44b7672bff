"""From the text of a Dockerfile to its logical lines: comments gone, continuations joined, heredocs taken out."""
from __future__ import annotations

from typing import NamedTuple

from windlass import exception
from windlass.client.dockerfile import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HEREDOC_OF = ("RUN", "COPY", "ADD")
_SHOWN = 200  # characters of a line in an error


class Heredoc(NamedTuple):
    """``<<NAME`` and the lines up to ``NAME``. ``expands``: the name was not quoted."""

    name: str
    text: str
    expands: bool


class Line(NamedTuple):
    """One instruction as written. ``number`` counts from 1; ``shown`` is its first line in the file."""

    file: str
    number: int
    shown: str
    text: str
    escape: str = "\\"
    heredocs: tuple[Heredoc, ...] = ()

    def fault(self, why: str, *, hint: str = "", kind: type[exception.Error] = exception.ImageBuildError) -> Exception:
        """An error that shows this line."""
        shown = self.shown if len(self.shown) <= _SHOWN else f"{self.shown[:_SHOWN]}…"
        return kind(f"{self.place()}: {why}\n    {shown.strip()}", hint=hint)

    def place(self) -> str:
        return f"{self.file}, line {self.number}"


def split(text: str, file: str) -> list[Line]:
    """The logical lines of a Dockerfile. Raises ``ImageBuildError`` that shows the line."""
    written = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    escape, at = _directives(written, file)
    found: list[Line] = []
    while at < len(written):
        if _is_nothing(written[at]):
            at += 1
            continue
        start, (joined, at) = at, _joined(written, at, escape)
        line = Line(file, start + 1, written[start], joined, escape)
        if joined.split(None, 1)[:1] and joined.split(None, 1)[0].upper() in _HEREDOC_OF:
            heredocs, at = _heredocs(line, written, at)
            line = line._replace(heredocs=tuple(heredocs))
        if joined:
            found.append(line)
    return found


def _directives(written: Sequence[str], file: str) -> tuple[str, int]:
    """The escape character, and the number of the first line that is no directive."""
    escape, seen = "\\", set()
    for at, line in enumerate(written):
        name, equals, value = line.strip().removeprefix("#").partition("=")
        name, value = name.strip().lower(), value.strip()
        if not line.lstrip().startswith("#") or not equals or not name.isidentifier() or name in seen:
            return escape, at
        seen.add(name)
        if name == "escape":
            if value not in ("\\", "`"):
                raise Line(file, at + 1, line, line).fault("the escape character is either \\ or `")
            escape = value
    return escape, len(written)


def _is_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _joined(written: Sequence[str], at: int, escape: str) -> tuple[str, int]:
    """A line with those that continue it, and where the next one begins."""
    pieces: list[str] = []
    while at < len(written):
        line = written[at]
        at += 1
        if pieces and _is_nothing(line):
            continue
        bare = line.rstrip(" \t")
        if bare.endswith(escape) and not bare[:-1].endswith(escape):
            pieces.append(bare[:-1])
            continue
        pieces.append(line)
        break
    return "".join(pieces).strip(), at


def _heredocs(line: Line, written: Sequence[str], at: int) -> tuple[list[Heredoc], int]:
    found: list[Heredoc] = []
    for word in words.split(line.text, line.escape):
        digits, mark, name = word.partition("<<")
        if not mark or digits.strip("0123456789") or not name.strip("-") or "<" in name:
            continue
        chomps, name = name.startswith("-"), name.removeprefix("-")
        end = name.replace('"', "").replace("'", "").replace(line.escape, "")
        body: list[str] = []
        while True:
            if at >= len(written):
                raise line.fault(f"the heredoc {word} has no end", hint=f"Put {end} alone on the line behind its text.")
            text = written[at].lstrip("\t") if chomps else written[at]
            at += 1
            if text == end:
                break
            body.append(f"{text}\n")
        found.append(Heredoc(end, "".join(body), end == name))
    return found, at
