"""Opaque identities: a prefix, a dash, 22 alphanumerics.

An input's id is computed from its call and its index, so both ends know it without asking: the first 16
characters are the call's, the last six the index.
"""
from __future__ import annotations

import os

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH = 22
_CALL_PART = 16
_FAIR = len(ALPHABET) * (256 // len(ALPHABET))
_CHARACTERS = (ALPHABET * 5)[:256].encode()
_UNFAIR = bytes(range(_FAIR, 256))  # would make the first characters likelier than others


def _digits(number: int, width: int) -> str:
    if number < 62:  # as nearly all are
        return ALPHABET[number].rjust(width, "0")
    chars = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        chars.append(ALPHABET[digit])
    return "".join(reversed(chars))


def new(prefix: str) -> str:
    """A fresh identity, for example ``new("fc")`` -> ``"fc-3kTMd84yYpZq0vXWb1sRNf"``."""
    text = b""
    while len(text) < LENGTH:
        text += os.urandom(32).translate(_CHARACTERS, _UNFAIR)
    return f"{prefix}-{text[:LENGTH].decode()}"


class Supply:
    """Fresh identities with one prefix: the system is asked for many at once, so not for a process that forks."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._text = ""

    def new(self) -> str:
        if len(self._text) < LENGTH:
            self._text = os.urandom(2048).translate(_CHARACTERS, _UNFAIR).decode()
        text, self._text = self._text[:LENGTH], self._text[LENGTH:]
        return f"{self._prefix}-{text}"


def input_id(call_id: str, index: int) -> str:
    """The id of a call's input number ``index`` (from 0)."""
    return f"in-{call_id[3 : 3 + _CALL_PART]}{_digits(index, LENGTH - _CALL_PART)}"


def input_index(identity: str) -> int:
    """The index that ``input_id`` wrote into ``identity``."""
    number = 0
    for char in identity[3 + _CALL_PART :]:
        number = number * 62 + ALPHABET.index(char)
    return number


def within(value: object, prefix: str) -> list[str]:
    """Every identity with that prefix among the strings of a JSON value."""
    if isinstance(value, str):
        return [value] if is_id(value, prefix) else []
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for one in inside for found in within(one, prefix)]


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` has the form of an identity with that prefix."""
    head, dash, tail = text.partition("-")
    return bool(dash) and head == prefix and len(tail) == LENGTH and tail.isascii() and tail.isalnum()
