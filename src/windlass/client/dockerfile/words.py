"""Words, quotes and variables as the instructions of a Dockerfile have them. Pure.

    $NAME  ${NAME}                its value, or nothing
    ${NAME:-word}  ${NAME-word}   ``word`` where NAME is empty or unset; where it is unset
    ${NAME:+word}  ${NAME+word}   ``word`` where NAME is set and not empty; where it is set
    ${NAME:?word}  ${NAME?word}   an error with ``word`` where NAME is empty or unset; where it is unset
    'raw'  "with $NAME"  \\$       quotes are taken away; the escape character makes the next one plain
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DEEPEST = 50  # of words within words


def split(text: str, escape: str = "\\") -> list[str]:
    """Words between blanks, with their quotes; blanks within quotes, and escaped ones, do not part."""
    found: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'":
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            found, word = [*found, word] if word else found, ""
            at += 1
            continue
        word += char
        at += 1
    return [*found, word] if word else found


def expand(text: str, value: Callable[[str], str | None], escape: str = "\\") -> str:
    """``text`` with variables in their place and quotes gone. Raises ``ValueError`` where it is malformed."""
    return _Reader(text, value, escape).word("")


def substitute(text: str, value: Callable[[str], str | None], escape: str = "\\") -> str:
    """As ``expand``, for text whose quotes and escapes are its own: both stay, and an escaped $ is left alone."""
    return _Reader(text, value, escape, raw=True).word("")


class _Reader:
    def __init__(self, text: str, value: Callable[[str], str | None], escape: str, *, raw: bool = False) -> None:
        self._is_raw = raw
        self._text = text
        self._at = 0
        self._value = value
        self._escape = escape
        self._depth = 0

    def word(self, stop: str) -> str:
        """Up to the character ``stop``, which is consumed; "" for the end of the text."""
        out: list[str] = []
        while self._at < len(self._text):
            char = self._next()
            if char == stop:
                return "".join(out)
            if char == "'" and not self._is_raw:
                out.append(self._single())
            elif char == '"' and not self._is_raw:
                out.append(self._quoted())
            elif char == "$":
                out.append(self._dollar())
            elif char == self._escape:
                out.append(char + self._next() if self._is_raw else self._next() or char)
            else:
                out.append(char)
        if stop:
            raise ValueError("a ${ has no }")
        return "".join(out)

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise ValueError("a single quote is not closed")
        start, self._at = self._at, end + 1
        return self._text[start:end]

    def _quoted(self) -> str:
        out: list[str] = []
        while self._at < len(self._text):
            char = self._next()
            if char == '"':
                return "".join(out)
            if char == "$":
                out.append(self._dollar())
            elif char == self._escape and self._text[self._at : self._at + 1] in ('"', "$", self._escape):
                out.append(self._next())
            else:
                out.append(char)
        raise ValueError("a double quote is not closed")

    def _dollar(self) -> str:
        if self._text[self._at : self._at + 1] != "{":
            name = self._name()
            return (self._value(name) or "") if name else "$"
        self._at += 1
        name = self._name()
        if not name:
            raise ValueError("a ${ has no name of a variable")
        colon = self._text[self._at : self._at + 1] == ":"
        self._at += colon
        char = self._next()
        if char == "}" and not colon:
            return self._value(name) or ""
        if char not in ("-", "+", "?"):
            raise ValueError(f"${{{name}{':' * colon}{char}…}} is no substitution that is known; there are - + and ?")
        return self._substituted(name, char, colon)

    def _substituted(self, name: str, char: str, colon: bool) -> str:
        value = self._value(name)
        present = bool(value) if colon else value is not None
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("substitutions within substitutions go too deep")
        word = self.word("}")
        self._depth -= 1
        if char == "+":
            return word if present else ""
        if char == "?" and not present:
            raise ValueError(f"{name}: {word or 'it is not set'}")
        return (value or "") if present else word

    def _name(self) -> str:
        start = self._at
        while self._at < len(self._text) and (self._text[self._at] == "_" or _is_plain(self._text[self._at])):
            self._at += 1
            if self._text[start].isdigit():
                break  # $1 and the like are one digit long
        return self._text[start : self._at]


def _is_plain(char: str) -> bool:
    return char.isascii() and char.isalnum()
